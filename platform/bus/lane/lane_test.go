package lane

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"
)

func item(session context.Context, key, id string, done func(bool)) Item {
	return Item{
		Key:     key,
		Session: session,
		Message: func() *message.Message { return message.NewMessage(id, nil) },
		Done:    done,
	}
}

// A key's messages come one after the other and in order, whatever the others do.
func TestKeyIsHandledInOrder(t *testing.T) {
	out := make(chan *message.Message)
	l := New(4, out)
	var done sync.WaitGroup
	const keys, each = 10, 20
	for n := range each {
		for k := range keys {
			done.Add(1)
			l.Add(item(t.Context(), fmt.Sprint(k), fmt.Sprintf("%d %d", k, n), func(acked bool) {
				if !acked {
					t.Errorf("%d %d was not acknowledged", k, n)
				}
				done.Done()
			}))
		}
	}
	var mu sync.Mutex
	next, inHand := map[int]int{}, map[int]bool{}
	for range keys * each {
		m := <-out
		go func() {
			var k, n int
			if _, err := fmt.Sscan(m.UUID, &k, &n); err != nil {
				t.Error(err)
			}
			mu.Lock()
			if inHand[k] || next[k] != n {
				t.Errorf("key %d: got number %d, want %d, in hand %t", k, n, next[k], inHand[k])
			}
			inHand[k], next[k] = true, n+1
			mu.Unlock()
			mu.Lock()
			inHand[k] = false
			mu.Unlock()
			m.Ack()
		}()
	}
	done.Wait()
	l.Close()
}

// A message that fails for ever holds up its lane and no other, and does not spin.
func TestFailingMessageHoldsUpItsLaneOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := make(chan *message.Message)
		l := New(1024, out)
		nacks, acked := 0, 0
		ctx, cancel := context.WithCancel(t.Context())
		l.Add(item(ctx, "bad", "bad", func(ok bool) {
			if ok {
				t.Error("the bad one is acknowledged")
			}
		}))
		for n := range 100 {
			l.Add(item(ctx, fmt.Sprint(n), "good", func(bool) {}))
		}
		for acked < 100 || nacks < 5 {
			m := <-out
			if m.UUID == "bad" {
				nacks++
				m.Nack()
				continue
			}
			acked++
			m.Ack()
		}
		cancel()
		l.Close()
		if acked != 100 {
			t.Errorf("%d others came through, want 100", acked)
		}
	})
}

// The end of a session drops what is queued, waits for what is in hand, and
// tells whoever has that.
func TestSessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := make(chan *message.Message)
		l := New(1, out)
		ctx, cancel := context.WithCancel(t.Context())
		var verdicts []bool
		done := func(ok bool) { verdicts = append(verdicts, ok) }
		l.Add(item(ctx, "k", "1", done))
		l.Add(item(ctx, "k", "2", done))
		m := <-out
		cancel()
		<-m.Context().Done()
		synctest.Wait()
		if len(verdicts) != 0 {
			t.Errorf("verdicts %v while a message is in hand", verdicts)
		}
		m.Ack()
		l.Close()
		if fmt.Sprint(verdicts) != "[true false]" {
			t.Errorf("verdicts %v, want [true false]", verdicts)
		}
	})
}

// Close waits for what is in hand, ends the rest and takes nothing more.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := make(chan *message.Message)
		l := New(1, out)
		var verdicts []bool
		done := func(ok bool) { verdicts = append(verdicts, ok) }
		l.Add(item(t.Context(), "k", "1", done))
		l.Add(item(t.Context(), "k", "2", done))
		m := <-out
		closed := make(chan struct{})
		go func() { l.Close(); close(closed) }()
		<-m.Context().Done()
		m.Nack()
		<-closed
		l.Add(item(t.Context(), "k", "3", done))
		if fmt.Sprint(verdicts) != "[false false false]" {
			t.Errorf("verdicts %v, want three times false", verdicts)
		}
	})
}
