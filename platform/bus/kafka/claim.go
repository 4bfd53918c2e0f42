package kafka

import (
	"context"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/pizzamill/pizzamill/platform/bus/lane"
)

// How far a subscription reads ahead of what is done. The share of a partition
// is that of its claim. The span is generous: offsets are marked up to the
// oldest unfinished one only, and a record that fails for a while must not keep
// its partition from going on.
const (
	maxUndone      = 16384
	minUndone      = 16 // of a partition, however many there are
	maxUndoneBytes = 64 << 20
	maxSpan        = 100_000 // records of a partition from the oldest unfinished one
)

// revokeGrace is how long a claim that was revoked waits for what is in hand.
// Above it are attempts of 45 s at most, below it the rebalance timeout of 60 s,
// at which the coordinator would put this member out of the group.
const revokeGrace = 50 * time.Second

// partition is what a claim does to its partition.
type partition struct {
	bus           string             // identity of the one it is on
	mark          func(offset int64) // everything below it is done
	pause, resume func()             // fetching
	share         func() int         // of how many partitions this is one
}

// claim is a partition that this process has in a session: which of its records
// are done, and which is the oldest that is not.
type claim struct {
	partition
	ctx context.Context

	mu      sync.Mutex
	records []*record // from the oldest unfinished one on
	undone  int
	bytes   int // of those that are not done
	paused  bool
	ended   bool
	inHand  int
	settled chan struct{} // closed when it has ended and nothing is in hand
}

type record struct {
	*sarama.ConsumerMessage
	inHand *message.Message // as it was handed out last; nil before
	acked  bool
}

func newClaim(ctx context.Context, p partition) *claim {
	return &claim{partition: p, ctx: ctx, settled: make(chan struct{})}
}

// add takes a record in and returns it for the lanes.
func (c *claim) add(m *sarama.ConsumerMessage) lane.Item {
	r := &record{ConsumerMessage: m}
	key := m.Key
	if key == nil {
		key = m.Value
	}
	c.mu.Lock()
	c.records = append(c.records, r)
	c.undone++
	c.bytes += len(m.Value)
	if !c.paused && c.isAbove(1) {
		c.paused = true
		c.pause()
	}
	c.mu.Unlock()
	return lane.Item{
		Key:     string(key),
		Session: c.ctx,
		Message: func() *message.Message { return c.handOut(r) },
		Done:    func(acked bool) { c.done(r, acked) },
	}
}

// handOut makes a message of a record. Once the claim has ended it is one that
// nobody's verdict is waited for.
func (c *claim) handOut(r *record) *message.Message {
	m := unmarshal(r.ConsumerMessage, c.bus)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		m.Nack()
		return m
	}
	if r.inHand == nil {
		c.inHand++
	}
	r.inHand = m
	return m
}

// done takes the verdict on a record, and marks the offsets below the oldest
// unfinished one.
func (c *claim) done(r *record, acked bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.undone--
	c.bytes -= len(r.Value)
	r.acked = acked
	low := int64(-1)
	for len(c.records) > 0 && c.records[0].acked {
		low = c.records[0].Offset + 1
		c.records[0] = nil
		c.records = c.records[1:]
	}
	if low >= 0 {
		c.mark(low)
	}
	if c.paused && !c.isAbove(2) {
		c.paused = false
		c.resume()
	}
	if r.inHand != nil { // last, since the offsets are committed once the claim has settled
		r.inHand = nil
		if c.inHand--; c.ended && c.inHand == 0 {
			close(c.settled)
		}
	}
}

// isAbove reports whether the claim holds at least its bounds divided by part.
func (c *claim) isAbove(part int) bool {
	share := c.share() * part
	return c.undone >= max(minUndone, maxUndone/share) || c.bytes >= maxUndoneBytes/share || len(c.records) >= maxSpan/part
}

// end waits until nothing is in hand. What has no verdict revokeGrace from now,
// or grace after closing, is nacked: its handler has had its time.
func (c *claim) end(closing context.Context, grace time.Duration) {
	c.mu.Lock()
	c.ended = true
	if c.inHand == 0 {
		close(c.settled)
	}
	if c.paused {
		c.paused = false
		c.resume() // sarama would remember it for the next claim of the partition
	}
	c.mu.Unlock()
	t := time.NewTimer(revokeGrace)
	defer t.Stop()
	closed := closing.Done()
	for {
		select {
		case <-c.settled:
			return
		case <-closed:
			closed = nil
			t.Reset(grace)
		case <-t.C:
			c.abandon()
		}
	}
}

// abandon nacks what is in hand.
func (c *claim) abandon() {
	c.mu.Lock()
	var inHand []*message.Message
	for _, r := range c.records {
		if r.inHand != nil {
			inHand = append(inHand, r.inHand)
		}
	}
	c.mu.Unlock()
	for _, m := range inHand {
		m.Nack()
	}
}
