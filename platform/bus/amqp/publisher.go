package amqp

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/pizzamill/pizzamill/platform/bus"
)

const (
	// publishPatience is how long Publish waits for the broker.
	publishPatience = 10 * time.Second
	// publishChannels is how many batches are on their way at once.
	publishChannels = 4
	// maxBatch is how many messages one batch has at most.
	maxBatch = 256
)

// publisher puts messages on the exchanges. Calls add to one queue; a few
// workers, each with a channel of its own, take from it whatever waits, write it
// in one go and wait until the broker has confirmed all of it. So concurrent
// calls and the messages of one call share round trips, and the more there are
// the larger the batches grow.
type publisher struct {
	bus  *Bus
	more chan struct{} // has a value while something may be waiting

	mu      sync.Mutex
	waiting []*outgoing
}

// outgoing is one message on its way.
type outgoing struct {
	amqp091.Publishing
	call  *call
	topic string
	key   string
}

// call is one call of Publish.
type call struct {
	done chan struct{} // closed when every message has its outcome
	gone chan struct{} // closed when nobody waits any more

	mu   sync.Mutex
	left int
	err  error
	last error // why the last attempt had no outcome
}

// newPublisher starts the workers. They end with the bus.
func newPublisher(b *Bus) *publisher {
	p := &publisher{bus: b, more: make(chan struct{}, 1)}
	for range publishChannels {
		w := &worker{bus: b}
		b.running.Go(func() {
			for batch := p.take(); batch != nil; batch = p.take() {
				w.publish(batch)
			}
		})
	}
	return p
}

// Publish implements message.Publisher; see Bus.Publisher.
func (p *publisher) Publish(topic string, messages ...*message.Message) error {
	if len(messages) == 0 {
		return nil
	}
	c := &call{done: make(chan struct{}), gone: make(chan struct{}), left: len(messages)}
	out := make([]*outgoing, len(messages))
	for i, m := range messages {
		publishing, err := marshaler{topic: topic}.Marshal(m)
		if err != nil {
			return fmt.Errorf("publish to %s: %w", topic, err)
		}
		out[i] = &outgoing{Publishing: publishing, call: c, topic: topic, key: keyOf(m)}
	}
	p.mu.Lock()
	p.waiting = append(p.waiting, out...)
	p.mu.Unlock()
	p.signal()
	if err := p.wait(c); err != nil {
		return fmt.Errorf("publish to %s: %w", topic, err)
	}
	return nil
}

// Close does nothing: handlers share the publisher, and the Router closes what
// it is given.
func (p *publisher) Close() error { return nil }

// keyOf returns the routing key: that of the record the message came from, or
// else its pizza's ID.
func keyOf(m *message.Message) string {
	if origin, ok := bus.OriginOf(m); ok {
		if origin.Key == nil {
			return ""
		}
		return *origin.Key
	}
	pizza, _, _ := strings.Cut(m.UUID, "/")
	return pizza
}

// wait returns the outcome of a call, or gives up: what is left of it is no
// longer sent, as far as that can be helped.
func (p *publisher) wait(c *call) error {
	patience := time.NewTimer(p.bus.patience)
	defer patience.Stop()
	select {
	case <-c.done:
		return c.err
	case <-p.bus.closing.Done():
		p.giveUp(c)
		return errClosed
	case <-patience.C:
		p.giveUp(c)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.last != nil {
			return fmt.Errorf("given up after %v: %w", p.bus.patience, c.last)
		}
		return fmt.Errorf("RabbitMQ has not confirmed within %v", p.bus.patience)
	}
}

func (p *publisher) giveUp(c *call) {
	close(c.gone)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = slices.DeleteFunc(p.waiting, func(o *outgoing) bool { return o.call == c })
}

func (p *publisher) signal() {
	select {
	case p.more <- struct{}{}:
	default:
	}
}

// take returns what waits, at most maxBatch, or nil when the bus closes.
func (p *publisher) take() []*outgoing {
	for {
		p.mu.Lock()
		n := min(len(p.waiting), maxBatch)
		batch := slices.Clone(p.waiting[:n])
		p.waiting = slices.Delete(p.waiting, 0, n)
		rest := len(p.waiting) > 0
		p.mu.Unlock()
		if rest {
			p.signal()
		}
		if n > 0 {
			return batch
		}
		select {
		case <-p.more:
		case <-p.bus.closing.Done():
			return nil
		}
	}
}

// settle gives a message its outcome.
func (o *outgoing) settle(err error) {
	c := o.call
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && (c.err == nil || errors.Is(err, bus.ErrTooLarge)) {
		c.err = err
	}
	if c.left--; c.left == 0 {
		close(c.done)
	}
}

// note keeps why there is no outcome yet.
func (o *outgoing) note(err error) {
	o.call.mu.Lock()
	defer o.call.mu.Unlock()
	o.call.last = err
}

// isWanted reports whether someone still waits for the outcome.
func (o *outgoing) isWanted() bool {
	select {
	case <-o.call.gone:
		return false
	default:
		return true
	}
}

// checkSize refuses what the broker would answer by closing the whole
// connection: properties larger than a frame, names longer than AMQP can write.
func (o *outgoing) checkSize(frame int) error {
	size := headerOverhead
	for name, value := range o.Headers {
		if len(name) > maxShort {
			return fmt.Errorf("a header's name has %d bytes: %w", len(name), bus.ErrTooLarge)
		}
		size += 1 + len(name) + 5 + len(value.(string)) // marshaler writes text only
	}
	for _, short := range []string{o.key, o.MessageId, o.CorrelationId, o.ContentType, o.ContentEncoding} {
		if len(short) > maxShort {
			return fmt.Errorf("a key or ID has %d bytes: %w", len(short), bus.ErrTooLarge)
		}
		size += 1 + len(short)
	}
	if frame > 0 && size > frame {
		return fmt.Errorf("the headers have %d bytes, a frame %d: %w", size, frame, bus.ErrTooLarge)
	}
	return nil
}

// headerOverhead is what a content header has beside its texts: the frame's own
// 8 bytes, class, weight, size and flags, the length of the table, delivery mode
// and timestamp.
const headerOverhead = 8 + 2 + 2 + 8 + 2 + 4 + 1 + 8
