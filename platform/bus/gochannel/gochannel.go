// Package gochannel is the bus in memory: Watermill's GoChannel, bounded in
// what it holds and without a hot loop on nack. It lives and dies with its
// process; the ledger makes again what is lost with it.
package gochannel

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/pizzamill/pizzamill/platform/bus"
)

// MaxBacklog bounds the events on the bus that a group has yet to acknowledge.
// GoChannel keeps two goroutines for each, so 100,000 would be 200,000
// goroutines and some 700 MB.
const MaxBacklog = 4096

// Pauses before a nacked message comes again.
const (
	minPause = 100 * time.Millisecond
	maxPause = 5 * time.Second
)

// Bus is an in-memory bus.Bus. The zero value is not usable; see New.
type Bus struct {
	prefix   string
	identity string
	gochan   *gochannel.GoChannel

	mu     sync.RWMutex
	groups map[string][]*group // by topic without prefix

	declared []bus.Subscription

	backlog atomic.Int64  // deliveries not yet acknowledged, over all groups
	less    chan struct{} // has a value after the backlog fell
}

// group counts what one consumer group has yet to acknowledge of one topic.
type group struct {
	bus.Subscription
	lag     atomic.Int64
	readers atomic.Int64
}

var _ bus.Bus = (*Bus)(nil)

// New returns a bus whose topics all begin with prefix.
func New(prefix string, log watermill.LoggerAdapter) *Bus {
	return newBus(prefix, gochannel.Config{OutputChannelBuffer: 1024, PreserveContext: true}, log)
}

func newBus(prefix string, config gochannel.Config, log watermill.LoggerAdapter) *Bus {
	return &Bus{
		prefix:   prefix,
		identity: "gochannel/" + prefix + "/" + watermill.NewUUID(),
		gochan:   gochannel.NewGoChannel(config, log),
		groups:   map[string][]*group{},
		less:     make(chan struct{}, 1),
	}
}

// Declare remembers who reads what, so that the backlog is counted per group.
// A group must have subscribed before the first publish: GoChannel drops what
// nobody is subscribed to.
func (b *Bus) Declare(subs []bus.Subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range subs {
		b.groups[s.Topic] = append(b.groups[s.Topic], &group{Subscription: s})
	}
	b.declared = subs
}

// Connect has nothing to reach.
func (b *Bus) Connect(context.Context) error { return nil }

// Publisher returns the publisher of this process.
func (b *Bus) Publisher() message.Publisher { return publisher{b} }

type publisher struct{ bus *Bus }

// Publish hands the messages to every subscriber of the topic and returns at
// once. It never blocks: a handler that waited here for another handler could
// wait for ever. What bounds the backlog is Room, at the source.
func (p publisher) Publish(topic string, messages ...*message.Message) error {
	n := int64(len(messages))
	groups := p.bus.groupsOf(topic)
	for _, g := range groups {
		g.lag.Add(n)
	}
	p.bus.backlog.Add(n * int64(len(groups)))
	if err := p.bus.gochan.Publish(p.bus.prefix+topic, messages...); err != nil {
		for _, g := range groups {
			p.bus.acknowledged(g, n)
		}
		return fmt.Errorf("publish to %s: %w", topic, err)
	}
	return nil
}

// Close does nothing: handlers share the publisher, and the Router closes what
// it is given.
func (publisher) Close() error { return nil }

func (b *Bus) groupsOf(topic string) []*group {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.groups[topic]
}

// groupOf returns the counter of a group on a topic. One that was not declared
// gets a counter that nothing adds up.
func (b *Bus) groupOf(topic, name string) (g *group, declared bool) {
	for _, g := range b.groupsOf(topic) {
		if g.Group == name {
			return g, true
		}
	}
	return &group{}, false
}

func (b *Bus) acknowledged(g *group, n int64) {
	g.lag.Add(-n)
	b.backlog.Add(-n)
	select {
	case b.less <- struct{}{}:
	default:
	}
}

// Room waits until a source may publish, and returns how many events.
//
// An event may become one on each later topic while a slow group still holds
// them all, so a source is let in while the backlog is below MaxBacklog divided
// by the number of topics: the backlog then stays below MaxBacklog whatever
// the groups do. A quarter of that is let in at once, since each turn of a
// source costs commits that many events share.
func (b *Bus) Room(ctx context.Context, want int) (int, error) {
	limit, perEvent := b.limits()
	for {
		free := (limit - int(b.backlog.Load())) / perEvent
		if free >= min(want, max(1, limit/perEvent/4)) {
			return min(free, want), nil
		}
		if err := b.waitForLess(ctx); err != nil {
			return 0, err
		}
	}
}

// limits returns up to which backlog a source is let in, and how much an event
// adds to it at most.
func (b *Bus) limits() (limit, perEvent int) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	perEvent = 1
	for _, groups := range b.groups {
		perEvent = max(perEvent, len(groups))
	}
	return max(perEvent, MaxBacklog/max(1, len(b.groups))), perEvent
}

// Drain waits until every group has acknowledged everything.
func (b *Bus) Drain(ctx context.Context) error {
	for b.backlog.Load() > 0 {
		if err := b.waitForLess(ctx); err != nil {
			return fmt.Errorf("%d events are still in hand: %w", b.backlog.Load(), err)
		}
	}
	return nil
}

// waitForLess returns after the backlog fell, or ctx ended. One waits at a time:
// the relay for room, and later the shutdown for the rest.
func (b *Bus) waitForLess(ctx context.Context) error {
	select {
	case <-b.less:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Identity is new with every process: what was on the bus of the last one is gone.
func (b *Bus) Identity(context.Context) (string, error) { return b.identity, nil }

// Lag returns what each declared group has yet to acknowledge.
func (b *Bus) Lag(context.Context) ([]bus.Lag, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	var lags []bus.Lag
	for _, groups := range b.groups {
		for _, g := range groups {
			lags = append(lags, bus.Lag{Subscription: g.Subscription, Messages: g.lag.Load()})
		}
	}
	return lags, nil
}

// Groups returns the declared groups; their consumers are in this process.
func (b *Bus) Groups(context.Context) ([]bus.Group, error) {
	var all []bus.Group
	for _, s := range b.declared {
		g, _ := b.groupOf(s.Topic, s.Group)
		all = append(all, bus.Group{Subscription: s, Name: s.Group, Exists: true, Consumers: int(g.readers.Load())})
	}
	return all, nil
}

// Compare returns nil: nobody else carries anything here.
func (b *Bus) Compare(context.Context) error { return nil }

// Check returns nil: memory is always there.
func (b *Bus) Check(context.Context) error { return nil }

// Close ends all subscriptions. What is on the bus is gone.
func (b *Bus) Close() error { return b.gochan.Close() }
