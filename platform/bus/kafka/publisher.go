package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/pizzamill/pizzamill/platform/bus"
)

// publishTimeout bounds a Publish while the cluster cannot be reached. Within
// it a broker that restarts is waited for.
const publishTimeout = 10 * time.Second

// publisher is the publisher of a process. All who call it at the same time
// share batches.
//
// It has two producers. The cluster bounds a batch as it bounds a message, so
// that one message too many, or too large, has the whole batch refused:
// together are sent messages whose batch surely fits, alone the large ones and
// those of a batch that was refused all the same. So the limit concerns nobody
// but the message that breaks it, and can be used to the last byte.
type publisher struct {
	bus             *Bus
	together, alone slot
	batchLimit      atomic.Int64 // bytes
}

var _ message.Publisher = (*publisher)(nil)

func newPublisher(b *Bus) *publisher {
	p := &publisher{bus: b}
	p.batchLimit.Store(maxBatch)
	p.together.open = func(l *links) (*producer, error) {
		return openProducer(b, l, b.settings.producer(l, int(p.batchLimit.Load()), false))
	}
	p.alone.open = func(l *links) (*producer, error) {
		return openProducer(b, l, b.settings.producer(l, 0, true))
	}
	p.together.links = func() *links { return newLinks(b.settings) }
	p.alone.links = p.together.links
	return p
}

// Publish returns when the cluster has all messages, on all replicas in sync,
// or after 10 s at most with an error; the messages may arrive all the same
// then. Its error wraps bus.ErrTooLarge if one message is larger than its
// topic allows; the others have arrived then.
func (p *publisher) Publish(topic string, messages ...*message.Message) error {
	if len(messages) == 0 {
		return nil
	}
	if other := p.bus.control.marker.conflict.Load(); other != nil {
		return fmt.Errorf("publish to %s: %w", topic, other) // not among the other line's records
	}
	ctx, cancel := context.WithTimeout(context.Background(), publishTimeout)
	defer cancel()
	records := make([]*sarama.ProducerMessage, 0, len(messages))
	var large []*sarama.ProducerMessage
	limit := int(p.batchLimit.Load())
	for _, m := range messages {
		r, err := marshaler{}.Marshal(topic, m)
		if err != nil {
			return fmt.Errorf("marshal for %s: %w", topic, err)
		}
		r.Topic = p.bus.topicName(topic)
		if r.ByteSize(recordVersion) >= limit {
			large = append(large, r)
			continue
		}
		records = append(records, r)
	}
	refused, err := p.together.send(ctx, records)
	if err == nil {
		refused, err = p.alone.send(ctx, append(large, refused...))
	}
	switch {
	case err != nil:
		return fmt.Errorf("publish to %s: %w", topic, err)
	case len(refused) > 0:
		return fmt.Errorf("publish to %s: %d of %d messages: %w", topic, len(refused), len(messages), bus.ErrTooLarge)
	}
	return nil
}

// recordVersion is the one of the format that sarama's sizes are asked for.
const recordVersion = 2

// Close does nothing: handlers share the publisher, and the Router closes what
// it is given.
func (*publisher) Close() error { return nil }

// replace has everything that is published from now on go through new
// producers: the topics are not those any more that the old ones know.
func (p *publisher) replace() {
	p.together.discard(p.together.take())
	p.alone.discard(p.alone.take())
}

// close flushes what is on its way. Nothing can be published any more.
func (p *publisher) close() {
	p.together.close()
	p.alone.close()
}

// slot holds the producer that is in use. One that failed is replaced: its
// sequence numbers, its epoch and what it believes of the cluster may be wrong
// for good, and to open another takes a few milliseconds.
type slot struct {
	links func() *links
	open  func(*links) (*producer, error)

	mu      sync.Mutex
	current *producer
	opening *opening
	closed  bool
	retired sync.WaitGroup
}

// opening is an attempt to open a producer, which all who wait share.
type opening struct {
	links    *links
	done     chan struct{}
	producer *producer
	err      error
}

var errClosed = errors.New("the bus is closed")

// send returns when all records have arrived but those that were refused for
// their size, or with why one did not.
func (s *slot) send(ctx context.Context, records []*sarama.ProducerMessage) (refused []*sarama.ProducerMessage, err error) {
	if len(records) == 0 {
		return nil, nil
	}
	p, err := s.get(ctx)
	if err != nil {
		return nil, err
	}
	refused, err = p.send(ctx, records)
	if err != nil {
		s.discard(p)
	}
	return refused, err
}

// get returns the producer in use, opened if need be.
func (s *slot) get(ctx context.Context) (*producer, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, errClosed
	}
	if p := s.current; p != nil {
		s.mu.Unlock()
		return p, nil
	}
	o := s.opening
	if o == nil {
		o = &opening{links: s.links(), done: make(chan struct{})}
		s.opening = o
		s.retired.Go(func() { s.run(o) })
	}
	s.mu.Unlock()
	select {
	case <-o.done:
		return o.producer, o.err
	case <-ctx.Done():
		return nil, fmt.Errorf("no producer within %v: %w", publishTimeout, ctx.Err())
	}
}

func (s *slot) run(o *opening) {
	t := time.AfterFunc(publishTimeout, o.links.cut)
	o.producer, o.err = s.open(o.links)
	t.Stop()
	s.mu.Lock()
	s.opening = nil
	closed := s.closed
	if !closed {
		s.current = o.producer
	}
	s.mu.Unlock()
	if closed && o.producer != nil {
		o.producer.close()
		o.producer, o.err = nil, errClosed
	}
	close(o.done)
}

// take returns the producer in use, if there is one.
func (s *slot) take() *producer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// discard takes a producer out of use. What it has on its way may still arrive.
func (s *slot) discard(p *producer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p == nil || s.current != p || s.closed {
		return
	}
	s.current = nil
	s.retired.Go(p.close)
}

// close closes all producers and waits for them.
func (s *slot) close() {
	s.mu.Lock()
	s.closed = true
	p := s.current
	s.current = nil
	if s.opening != nil {
		s.opening.links.cut()
	}
	s.mu.Unlock()
	if p != nil {
		p.close()
	}
	s.retired.Wait()
}
