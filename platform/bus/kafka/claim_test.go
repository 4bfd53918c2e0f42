package kafka

import (
	"context"
	"math/rand"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"

	"github.com/pizzamill/pizzamill/platform/bus/lane"
)

// fakePartition notes what a claim does to it.
type fakePartition struct {
	marked int64
	paused bool
	claims int
}

func (f *fakePartition) claim(ctx context.Context) *claim {
	f.marked, f.claims = -1, max(1, f.claims)
	return newClaim(ctx, partition{
		mark:   func(offset int64) { f.marked = offset },
		pause:  func() { f.paused = true },
		resume: func() { f.paused = false },
		share:  func() int { return f.claims },
	})
}

func at(offset int64) *sarama.ConsumerMessage {
	return &sarama.ConsumerMessage{Offset: offset, Value: []byte("{}")}
}

// In whatever order records are done, what is marked is what follows the
// longest run of done ones, also where offsets have gaps.
func TestOffsetsAreMarkedUpToTheOldestUnfinished(t *testing.T) {
	for seed := range int64(50) {
		chance := rand.New(rand.NewSource(seed))
		f := &fakePartition{}
		c := f.claim(t.Context())
		var offsets []int64
		var items []lane.Item
		offset := chance.Int63n(100)
		for range 100 {
			offset += 1 + chance.Int63n(3)
			offsets = append(offsets, offset)
			items = append(items, c.add(at(offset)))
		}
		done := make([]bool, len(items))
		for _, i := range chance.Perm(len(items)) {
			_ = items[i].Message()
			items[i].Done(true)
			done[i] = true
			want := int64(-1)
			for n := 0; n < len(done) && done[n]; n++ {
				want = offsets[n] + 1
			}
			if f.marked != want {
				t.Fatalf("seed %d: marked %d, want %d", seed, f.marked, want)
			}
		}
	}
}

// What was dropped at the end of a session is not passed over.
func TestDroppedRecordHoldsTheMark(t *testing.T) {
	f := &fakePartition{}
	c := f.claim(t.Context())
	first, second := c.add(at(10)), c.add(at(11))
	first.Done(false)
	second.Done(true)
	if f.marked != -1 {
		t.Errorf("marked %d over a record that nobody handled", f.marked)
	}
}

// A partition is not fetched while much of it is undone, and is again when half
// of that is done. One record that fails does not stop it.
func TestReadingAheadIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		claims, size, want int
	}{
		"one claim":             {1, 10, maxUndone},
		"eight claims":          {8, 10, maxUndone / 8},
		"large records":         {1, 1 << 20, maxUndoneBytes >> 20},
		"more claims than that": {maxUndone * 2, 10, minUndone},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakePartition{claims: c.claims}
			claim := f.claim(t.Context())
			stuck := claim.add(&sarama.ConsumerMessage{Value: []byte{}})
			var items []lane.Item
			value := make([]byte, c.size)
			for !f.paused {
				items = append(items, claim.add(&sarama.ConsumerMessage{Offset: int64(len(items) + 1), Value: value}))
			}
			if n := len(items); n < c.want-1 || n > c.want+1 {
				t.Errorf("paused at %d, want %d", n, c.want)
			}
			for _, i := range items {
				i.Done(true)
			}
			if f.paused {
				t.Error("one record that is not done stops the partition")
			}
			if f.marked != -1 {
				t.Errorf("marked %d beyond the one that is not done", f.marked)
			}
			stuck.Done(true)
			if want := int64(len(items) + 1); f.marked != want {
				t.Errorf("marked %d, want %d", f.marked, want)
			}
		})
	}
}

// It stops in the end: what is done beyond it would be done again after a crash.
func TestOneRecordHoldsItsPartitionInTheEnd(t *testing.T) {
	f := &fakePartition{}
	c := f.claim(t.Context())
	stuck := c.add(at(0))
	for n := int64(1); n < maxSpan; n++ {
		c.add(at(n)).Done(true)
	}
	if !f.paused {
		t.Error("reads on and on")
	}
	stuck.Done(true)
	if f.paused || f.marked != maxSpan {
		t.Errorf("paused %t, marked %d", f.paused, f.marked)
	}
}

// A claim that is taken away waits for the verdict on what is in hand, not for
// what is queued in a lane behind a message of another partition.
func TestClaimEndsWhenNothingIsInHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakePartition{}
		c := f.claim(t.Context())
		inHand, queued := c.add(at(0)), c.add(at(1))
		m := inHand.Message()
		begin := time.Now()
		time.AfterFunc(3*time.Second, func() {
			m.Ack()
			inHand.Done(true)
		})
		c.end(context.Background(), time.Minute)
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("took %v", took)
		}
		if f.marked != 1 {
			t.Errorf("marked %d, want 1", f.marked)
		}
		stray := queued.Message()
		select {
		case <-stray.Nacked():
		default:
			t.Error("a message that comes out after the end is waited for")
		}
		queued.Done(false)
	})
}

// A stock subscriber waits for ever, past the rebalance timeout, and then two
// members handle the message at once.
func TestClaimEndsWithinTheRebalanceTimeout(t *testing.T) {
	for name, c := range map[string]struct {
		closing bool
		want    time.Duration
	}{"revoked": {false, revokeGrace}, "closing": {true, 7 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakePartition{}
				claim := f.claim(t.Context())
				item := claim.add(at(0))
				m := item.Message()
				go func() { // as a lane does
					<-m.Nacked()
					item.Done(false)
				}()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.closing {
					cancel()
				}
				begin := time.Now()
				claim.end(ctx, 7*time.Second)
				if took := time.Since(begin); took != c.want || took >= rebalanceTimeout {
					t.Errorf("took %v, want %v", took, c.want)
				}
				if f.marked != -1 {
					t.Errorf("marked %d", f.marked)
				}
			})
		})
	}
}

// Sarama remembers a pause beyond the claim that asked for it.
func TestEndOfAClaimResumesItsPartition(t *testing.T) {
	f := &fakePartition{claims: maxUndone}
	c := f.claim(t.Context())
	for n := range int64(minUndone) {
		c.add(at(n))
	}
	if !f.paused {
		t.Fatal("not paused")
	}
	c.end(t.Context(), 0)
	if f.paused {
		t.Error("the next claim of the partition begins paused")
	}
}
