package gochannel

import (
	"context"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Subscriber returns a subscriber for a group. Closing it ends its own
// subscriptions and leaves the bus alone.
func (b *Bus) Subscriber(group string) message.Subscriber {
	ctx, cancel := context.WithCancel(context.Background())
	return &subscriber{bus: b, group: group, closing: ctx, close: cancel}
}

type subscriber struct {
	bus     *Bus
	group   string
	closing context.Context
	close   context.CancelFunc
	running sync.WaitGroup
}

// Subscribe passes on what GoChannel delivers. The channel is closed when ctx
// ends or the subscriber or the bus is closed.
func (s *subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(s.closing, cancel)
	in, err := s.bus.gochan.Subscribe(ctx, s.bus.prefix+topic)
	if err != nil {
		cancel()
		return nil, err
	}
	d := &delivery{bus: s.bus, ctx: ctx, out: make(chan *message.Message), nacks: map[string]int{}}
	d.group, d.counted = s.bus.groupOf(topic, s.group)
	d.group.readers.Add(1)
	s.running.Go(func() {
		defer d.group.readers.Add(-1)
		defer cancel()
		d.run(in)
	})
	return d.out, nil
}

// Close ends the subscriptions and waits until their channels are closed.
func (s *subscriber) Close() error {
	s.close()
	s.running.Wait()
	return nil
}

// delivery carries the messages of one subscription from GoChannel to its
// reader, counts acknowledgements, and holds a nacked message back for a while:
// GoChannel itself would send it again at once, 240,000 times a second.
type delivery struct {
	bus     *Bus
	group   *group
	counted bool
	ctx     context.Context
	out     chan *message.Message
	held    sync.WaitGroup

	mu    sync.Mutex
	nacks map[string]int // by message UUID, only of those that were nacked
}

func (d *delivery) run(in <-chan *message.Message) {
	for original := range in {
		m := message.NewMessage(original.UUID, original.Payload)
		m.Metadata = original.Metadata
		m.SetContext(messageContext{d.ctx, original.Context()})
		select {
		case d.out <- m:
			d.held.Go(func() { d.settle(original, m) })
		case <-d.ctx.Done():
			original.Nack()
		}
	}
	close(d.out)
	d.held.Wait()
}

// messageContext ends with its subscription and has the values that the
// publisher gave the message. One that GoChannel would make for each delivery,
// to cancel it at the acknowledgement, costs more than the rest of a delivery.
type messageContext struct {
	context.Context
	values context.Context
}

// Value implements context.Context.
func (c messageContext) Value(key any) any { return c.values.Value(key) }

// settle waits for the reader's verdict and tells GoChannel.
func (d *delivery) settle(original, m *message.Message) {
	select {
	case <-m.Acked():
		d.forget(m.UUID)
		original.Ack()
		if d.counted {
			d.bus.acknowledged(d.group, 1)
		}
	case <-m.Nacked():
		pause := time.NewTimer(d.pause(m.UUID))
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-d.ctx.Done():
		}
		original.Nack()
	case <-d.ctx.Done():
		// The reader may still be at it and will acknowledge; the ledger knows
		// what became of it. Nothing can be delivered again on a closed bus.
	}
}

// pause returns how long a message waits after this nack, in time doubled by each.
func (d *delivery) pause(uuid string) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.nacks[uuid]
	d.nacks[uuid] = n + 1
	return min(maxPause, minPause<<min(n, 10))
}

func (d *delivery) forget(uuid string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.nacks) > 0 {
		delete(d.nacks, uuid)
	}
}
