package amqp

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/bus/lane"
)

// A lane is where messages wait behind one of the same key. What bounds how many
// are in hand is the broker, by its prefetch; the more lanes, the fewer others
// wait behind a message that fails for long, and the later they, waiting, use up
// all that may be in hand. At 4096 one in 4096 does. An idle lane costs 40 bytes.
const (
	minLanes     = 4096
	lanesPerHand = 8
)

// maxTrouble is the longest pause before a queue is tried again that cannot be
// consumed though the broker is there: each attempt may cost the connection.
const maxTrouble = 10 * time.Second

// consumerTag names the one consumer of a channel.
const consumerTag = "pizzamill"

// Subscriber returns a subscriber for a group. What was prefetched and not
// handed out when it closes goes back to the queue at once; what readers have in
// hand is theirs until they acknowledge it, until half a minute later, or until
// the bus closes.
func (b *Bus) Subscriber(group string) message.Subscriber {
	ctx, cancel := context.WithCancel(b.closing)
	return &subscriber{bus: b, group: group, closing: ctx, close: cancel}
}

type subscriber struct {
	bus     *Bus
	group   string
	closing context.Context
	close   context.CancelFunc
	running sync.WaitGroup
}

// Subscribe returns at once, also while the broker is away. The channel outlives
// connections; it is closed when ctx ends or the subscriber or the bus is closed.
func (s *subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if s.closing.Err() != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, errClosed)
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.closing, cancel)
	lanes := make(chan *message.Message)
	sub := &subscription{
		Subscription: bus.Subscription{Topic: topic, Group: s.group},
		bus:          s.bus,
		lanes:        lane.New(max(minLanes, lanesPerHand*s.bus.config.Concurrency), lanes),
		settled:      make(chan struct{}),
	}
	if err := s.bus.spawn(func() { sub.run(ctx) }); err != nil {
		stop()
		cancel()
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	out := make(chan *message.Message)
	s.running.Go(func() {
		defer cancel()
		defer stop()
		forward(ctx, lanes, out)
	})
	return out, nil
}

// Close ends the subscriptions and waits until their channels are closed.
func (s *subscriber) Close() error {
	s.close()
	s.running.Wait()
	return nil
}

// forward passes messages on until ctx ends, and closes out. The lanes cannot:
// they stay at work until their last message has its verdict.
func forward(ctx context.Context, in <-chan *message.Message, out chan<- *message.Message) {
	defer close(out)
	for {
		select {
		case m := <-in:
			select {
			case out <- m:
			case <-ctx.Done():
				m.Nack()
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// subscription reads one queue for a group.
type subscription struct {
	bus.Subscription
	bus   *Bus
	lanes *lane.Lanes

	settling sync.Once
	settled  chan struct{}
}

// run consumes until ctx ends, over as many sessions as it takes.
func (s *subscription) run(ctx context.Context) {
	var reported time.Time
	limit := maxPause
	for wait := minPause; ctx.Err() == nil; wait = min(2*wait, limit) {
		line, err := s.bus.consume.get(ctx) // which says so itself while the broker is away
		if err == nil {
			var consumed bool
			consumed, err = s.session(ctx, line)
			switch {
			case consumed:
				wait, limit = minPause, maxPause
			case err != nil:
				limit = maxTrouble
				if time.Since(reported) > reportEvery {
					s.bus.log.Warn("cannot consume", "queue", s.bus.queue(s.Subscription), "error", err)
					reported = time.Now()
				}
			}
		}
		pause(ctx, wait)
	}
	s.settle()
}

// settle hands out nothing more, and returns a channel that is closed once what
// readers have in hand has its verdict. The bus itself does not wait for that.
func (s *subscription) settle() <-chan struct{} {
	s.settling.Do(func() {
		go func() { s.lanes.Close(); close(s.settled) }()
	})
	return s.settled
}

// session consumes on one channel until that ends or ctx does. It returns
// whether it got as far as consuming, and if not, why.
func (s *subscription) session(ctx context.Context, line *line) (consumed bool, err error) {
	ch, err := line.Channel()
	if err != nil {
		return false, fmt.Errorf("open a channel: %w", err)
	}
	session := newSession(line, ch)
	defer session.end()
	if err := ch.Qos(s.bus.config.Concurrency, 0, false); err != nil {
		return false, fmt.Errorf("bound what is in hand: %w", err)
	}
	deliveries, err := ch.Consume(s.bus.queue(s.Subscription), consumerTag, false, false, false, false, nil)
	if isMissing(err) { // someone deleted it
		return false, s.bus.declare([]bus.Subscription{s.Subscription})
	}
	if err != nil {
		return false, fmt.Errorf("consume: %w", err)
	}
	from := marshaler{topic: s.Topic, bus: s.bus.identityOf(line)}
	for {
		select {
		case d, ok := <-deliveries:
			if !ok {
				return true, nil // the queue was deleted, or the connection is gone
			}
			s.add(session, from, d)
		case <-ctx.Done():
			s.leave(session, deliveries)
			return true, nil
		}
	}
}

// add queues a delivery for its lane.
func (s *subscription) add(session *session, from marshaler, d amqp091.Delivery) {
	key := d.RoutingKey
	if key == "" {
		key = string(d.Body)
	}
	s.lanes.Add(lane.Item{
		Key:     key,
		Session: session.ctx,
		Message: func() *message.Message {
			m, _ := from.Unmarshal(d) // it never fails
			return m
		},
		Done: func(acked bool) { session.done(d.DeliveryTag, acked) },
	})
}

// leave stops consuming, gives back what nobody has in hand, and stays until the
// rest has its verdict: were the channel closed earlier, the broker would hand
// those messages to others while they are still being handled here.
func (s *subscription) leave(session *session, deliveries <-chan amqp091.Delivery) {
	settled := s.settle()
	if err := session.ch.Cancel(consumerTag, false); err != nil {
		return // the channel is gone, and everything went back with it
	}
	for d := range deliveries {
		session.done(d.DeliveryTag, false)
	}
	patience := time.NewTimer(s.bus.settle)
	defer patience.Stop()
	select {
	case <-settled:
	case <-patience.C:
	case <-session.closed: //nolint:errcheck // that it closed is all there is to know
	case <-s.bus.closing.Done():
	}
}
