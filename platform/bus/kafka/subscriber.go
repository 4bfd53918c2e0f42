package kafka

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/pizzamill/pizzamill/platform/bus/lane"
)

const (
	// laneCount is how many messages of a subscription are in hand at most,
	// whatever the number of its partitions.
	laneCount = 64
	// Pauses before joining again.
	firstWait = 100 * time.Millisecond
	lastWait  = 2 * time.Second
	// maxFailed is how often a member fails, in a cluster that answers, before
	// it begins anew.
	maxFailed = 5
	// reportEvery is how often a subscription says that it waits.
	reportEvery = time.Minute
)

// Subscriber returns a subscriber that reads for a group. Closing it ends its
// own subscriptions and leaves the bus alone.
func (b *Bus) Subscriber(group string) message.Subscriber {
	return &subscriber{bus: b, group: group}
}

type subscriber struct {
	bus   *Bus
	group string

	mu     sync.Mutex
	closed bool
	open   []*subscription
}

// Subscribe returns at once, also while the cluster is away; the channel lives
// through whatever happens to it. The channel is closed when ctx ends or the
// subscriber or the bus is closed.
func (s *subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("subscribe to %s: the subscriber is closed", topic)
	}
	sub, err := s.bus.subscribe(ctx, s.group, topic)
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	s.open = append(s.open, sub)
	return sub.out, nil
}

// Close hands out nothing more, and returns when what is in hand has its
// verdict (after 10 s it gets a nack), the offsets are committed and the group
// is left, so that others have the partitions at once.
func (s *subscriber) Close() error {
	s.mu.Lock()
	s.closed = true
	open := s.open
	s.mu.Unlock()
	for _, sub := range open {
		sub.close()
	}
	for _, sub := range open {
		<-sub.ended
	}
	return nil
}

// subscription is a member of a consumer group on one topic.
type subscription struct {
	bus   *Bus
	group string // by Kafka's name
	topic string // by Kafka's name
	ctx   context.Context
	close context.CancelFunc
	lanes *lane.Lanes
	in    chan *message.Message // from the lanes
	out   chan *message.Message // to the reader
	ended chan struct{}         // closed when the group is left

	mu sync.Mutex
	// What the claims of the session stand on, and what ends it.
	topicIDs map[string]bool
	cancel   context.CancelFunc
}

func (b *Bus) subscribe(ctx context.Context, group, topic string) (*subscription, error) {
	s := &subscription{
		bus:   b,
		group: b.groupName(group, topic),
		topic: b.topicName(topic),
		in:    make(chan *message.Message),
		out:   make(chan *message.Message),
		ended: make(chan struct{}),
	}
	s.ctx, s.close = context.WithCancel(ctx)
	s.lanes = lane.New(laneCount, s.in)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		s.close()
		return nil, errClosed
	}
	b.subscriptions[s] = struct{}{}
	go s.handOut()
	go s.run()
	return s, nil
}

// handOut passes on what the lanes hand out. It is a step of its own so that
// the reader's channel can be closed while messages are still in its hands.
func (s *subscription) handOut() {
	defer close(s.out)
	for {
		select {
		case m := <-s.in:
			select {
			case s.out <- m:
			case <-m.Context().Done(): // nobody took it before its session ended
				m.Nack()
			}
		case <-s.ctx.Done():
			return
		}
	}
}

// run is a member of the group until the subscription ends.
func (s *subscription) run() {
	defer close(s.ended)
	var m *member
	var reported time.Time
	wait, failed := firstWait, 0
	for s.ctx.Err() == nil {
		begin := time.Now()
		err := s.session(&m)
		if s.ctx.Err() != nil {
			break
		}
		if time.Since(begin) > sessionTimeout {
			wait = firstWait
		}
		if err != nil && time.Since(reported) > reportEvery {
			s.bus.log.Warn("waiting", "group", s.group, "topic", s.topic, "for", err)
			reported = time.Now()
		}
		// A member that comes back is known by its ID, and nobody waits until
		// its former self has timed out. It begins anew, with nothing but the
		// addresses, if the cluster answers others and not it.
		if failed++; err == nil || s.bus.Check(s.ctx) != nil {
			failed = 0
		}
		if failed == maxFailed {
			m.leave()
			m, failed = nil, 0
		}
		select {
		case <-time.After(wait):
		case <-s.ctx.Done():
		}
		wait = min(2*wait, lastWait)
	}
	m.leave()
	s.lanes.Close()
	s.bus.mu.Lock()
	delete(s.bus.subscriptions, s)
	s.bus.mu.Unlock()
}

// session takes part in the group, and returns when this member has to join
// again: with an error if it could not.
func (s *subscription) session(m **member) error {
	if other := s.bus.control.marker.conflict.Load(); other != nil {
		(*m).leave() // what is in the groups is the other line's
		*m = nil
		return other
	}
	if *m == nil {
		joined, err := newMember(s)
		if err != nil {
			return err
		}
		*m = joined
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	s.begin(cancel)
	if err := (*m).group.Consume(ctx, []string{s.topic}, *m); err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	return nil
}

// begin notes the start of a session.
func (s *subscription) begin(cancel context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.topicIDs, s.cancel = map[string]bool{}, cancel
}

// standsOn notes which topic a claim of the session reads.
func (s *subscription) standsOn(topicID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.topicIDs[topicID] = true
}

// tell ends the session if it reads a topic that is there no more, though one
// of its name is. Fetching goes on otherwise as if nothing had happened, from
// an offset of the old one.
func (s *subscription) tell(topicID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.topicIDs {
		if id != topicID {
			s.cancel()
			return
		}
	}
}

// endSessions has all members join again.
func (b *Bus) endSessions() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.subscriptions {
		s.mu.Lock()
		if s.cancel != nil {
			s.cancel()
		}
		s.mu.Unlock()
	}
}

// tell passes a look at the cluster on to the subscriptions.
func (b *Bus) tell(now *sight) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.subscriptions {
		if t, ok := now.topics[s.topic]; ok {
			s.tell(topicID(t.id))
		}
	}
}

var _ message.Subscriber = (*subscriber)(nil)
