// Package kafka is the bus on Apache Kafka: a topic per topic, a consumer group
// per module, the pizza's ID as key.
//
//	Publish ─▶ marshaler ─▶ producer, idempotent, acks=all        (publisher.go, producer.go)
//	group session ─▶ claim: order of offsets, bounds ─▶ lanes ─▶ handler
//	                                        (subscriber.go, claim.go, ../lane)
//	watch: does the broker answer, are the topics the same ones still  (control.go)
//	marker: which pipeline is carried under the prefix                 (pipeline.go)
//
// What Kafka calls a session is the time between two rebalances that take a
// partition away; the context of a message ends with it.
package kafka

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/pizzamill/pizzamill/platform/bus"
)

// Config says how to reach a cluster and what to create there.
type Config struct {
	Brokers           []string // host:port, at least one
	Partitions        int      // of topics that do not exist yet
	ReplicationFactor int      // likewise
	TLS               bool
	CAFile            string // PEM; "": the system's roots
	SASLMechanism     string // "", PLAIN, SCRAM-SHA-256, SCRAM-SHA-512
	SASLUsername      string
	SASLPassword      string
	Prefix            string // before every topic and group
	Pipeline          string // what is carried under it: stages, comma-separated; "": nobody compares it
	ClientID          string // "": pizzamill
}

// Bus is a bus.Bus on Kafka. See New.
type Bus struct {
	config    Config
	settings  *settings
	log       *slog.Logger
	control   *control
	publisher *publisher

	mu            sync.Mutex
	declared      []bus.Subscription
	manyTopics    map[string]bool // groups that were declared on several topics
	subscriptions map[*subscription]struct{}
	closed        bool

	// closeGrace is how long a closing subscription waits for the verdict on
	// what its reader has in hand.
	closeGrace time.Duration
}

var _ bus.Bus = (*Bus)(nil)

// New returns a bus that is not connected yet. It fails if the settings cannot
// be used: a CA file that cannot be read, an unknown SASL mechanism.
func New(config Config, log *slog.Logger) (*Bus, error) {
	s, err := newSettings(config)
	if err != nil {
		return nil, err
	}
	b := &Bus{
		config:        config,
		settings:      s,
		log:           log,
		manyTopics:    map[string]bool{},
		subscriptions: map[*subscription]struct{}{},
		closeGrace:    closeGrace,
	}
	b.control = newControl(b)
	b.publisher = newPublisher(b)
	return b, nil
}

// closeGrace fits into a shutdown, and most attempts fit into it.
const closeGrace = 10 * time.Second

// Declare says who reads what.
func (b *Bus) Declare(subs []bus.Subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.declared = subs
	first := map[string]string{}
	for _, s := range subs {
		if topic, ok := first[s.Group]; ok && topic != s.Topic {
			b.manyTopics[s.Group] = true
		}
		first[s.Group] = s.Topic
	}
}

// Connect reaches the cluster, compares the pipeline that it carries, creates the
// topics that are missing, and from then on watches all of it. A topic with
// another number of partitions than the configured one is used as it is. Groups
// come into being when somebody joins, and then begin at the oldest record.
func (b *Bus) Connect(ctx context.Context) error {
	for {
		err := within(ctx, b.control.prepare)
		if err == nil {
			b.control.watch()
			return nil
		}
		if !errors.Is(err, errNotYet) {
			return err
		}
		select {
		case <-time.After(settleWait):
		case <-ctx.Done():
			return err
		}
	}
}

// settleWait is the time after which a topic that was just created is looked
// for again: brokers learn of it one after the other.
const settleWait = 50 * time.Millisecond

// Publisher returns the publisher of this process.
func (b *Bus) Publisher() message.Publisher { return b.publisher }

// Room returns want: Kafka keeps its messages on disk.
func (b *Bus) Room(_ context.Context, want int) (int, error) { return want, nil }

// Drain returns nil: what is on the bus outlives this process.
func (b *Bus) Drain(context.Context) error { return nil }

// Close ends the subscriptions, each as its subscriber's Close does, and
// flushes the publisher.
func (b *Bus) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	var open []*subscription
	for s := range b.subscriptions {
		open = append(open, s)
	}
	b.mu.Unlock()
	for _, s := range open {
		s.close()
	}
	for _, s := range open {
		<-s.ended
	}
	b.publisher.close()
	b.control.close()
	return nil
}

// topicName returns what Kafka calls a topic.
func (b *Bus) topicName(topic string) string { return b.config.Prefix + topic }

// groupName returns what Kafka calls the group that reads a topic. A group that
// reads several topics is several groups on Kafka: in one, each topic's members
// would stop those of the others whenever one comes or goes.
func (b *Bus) groupName(group, topic string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	name := b.config.Prefix + "pizzamill." + group
	if b.manyTopics[group] {
		name += "." + topic
	}
	return name
}

// subs returns what was declared.
func (b *Bus) subs() []bus.Subscription {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.declared
}

// topicNames returns the declared topics, by Kafka's names, each once.
func (b *Bus) topicNames() []string {
	var names []string
	seen := map[string]bool{}
	for _, s := range b.subs() {
		if name := b.topicName(s.Topic); !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}

// within returns what fn returns, or ctx's error if that ends first. Sarama's
// calls know no context; their own timeouts end fn then.
func within(ctx context.Context, fn func() error) error {
	done := make(chan error, 1)
	go func() { done <- fn() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
