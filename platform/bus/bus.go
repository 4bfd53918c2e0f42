// Package bus is the seam between pizzamill and what carries its messages.
// A driver (gochannel) turns it into Watermill publishers and
// subscribers; nothing else in pizzamill knows which one runs.
package bus

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Subscription is one consumer group on one topic. The group is the module's
// name: processes that run the same module share its work.
type Subscription struct {
	Topic string
	Group string
}

// Lag is the number of messages of a topic that a group has yet to acknowledge.
type Lag struct {
	Subscription
	Messages int64
}

// Bus carries the messages of topics to consumer groups: at least once, in any
// order, to every group that was declared. Topics and groups are named without
// prefix here; a driver adds it.
//
// Implementations are safe for concurrent use.
type Bus interface {
	// Declare makes topics and groups exist, those of other processes too, so
	// that nothing published afterwards is ever lost for want of a consumer.
	// It is called once, before the first publish, with every subscription of
	// the whole pipeline.
	Declare(ctx context.Context, subs []Subscription) error

	// Publisher returns the one publisher of this process. Publish returns once
	// the bus has taken the messages; its Close does nothing, since handlers
	// share it and the Router closes what it is given.
	Publisher() message.Publisher

	// Subscriber returns a subscriber that reads for a group. A nacked message
	// comes again, after a pause that grows with each nack. Many messages may
	// be in hand at once.
	Subscriber(group string) message.Subscriber

	// Room blocks until the bus can take more events from a source, that is a
	// publisher that is not handling an event itself, and returns how many, at
	// most want. A bus that keeps its messages on disk always has room; one in
	// memory has as much as keeps its backlog bounded.
	Room(ctx context.Context, want int) (int, error)

	// Drain waits until everything that only this process holds has been
	// acknowledged, or ctx ends. With a broker that is nothing.
	Drain(ctx context.Context) error

	// Identity returns the name of this bus: driver, prefix and the cluster's
	// own name. On an in-memory bus it is new with every process. The ledger
	// compares it at start.
	Identity(ctx context.Context) (string, error)

	// Lag returns what each declared group has yet to acknowledge.
	Lag(ctx context.Context) ([]Lag, error)

	// Check returns nil if the bus can carry messages now, else why not.
	Check(ctx context.Context) error

	// Close closes publishers and subscribers. It is called last.
	Close() error
}
