// Package bus is the seam between pizzamill and what carries its messages.
// A driver (gochannel, kafka, amqp) turns it into Watermill publishers and
// subscribers; nothing else in pizzamill knows which one runs.
package bus

import (
	"context"
	"errors"
	"fmt"

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

// Group is a consumer group as the broker has it.
type Group struct {
	Subscription
	// Name is the broker's name for it: a Kafka group, an AMQP queue.
	Name string
	// Exists is false if the broker knows no such group, queue or topic.
	Exists bool
	// Consumers is how many live consumers read the topic for the group now.
	Consumers int
}

// ErrTooLarge is wrapped by the error of a message that the bus refuses for its
// size. It will never take it.
var ErrTooLarge = errors.New("the bus refuses the message for its size")

// ConflictError says that something exists on the broker that differs beyond
// repair from what pizzamill needs. Waiting does not help.
type ConflictError struct {
	What string // the queue, exchange or topic, as the broker names it
	Have string // what the broker has, as far as it tells
	Want string
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s exists and is not what pizzamill needs: it has %s, want %s; remove it, or choose another [bus] prefix",
		e.What, e.Have, e.Want)
}

// Bus carries the messages of topics to consumer groups: at least once, in any
// order, to every group that was declared. Topics and groups are named without
// prefix here; a driver adds it.
//
// Implementations are safe for concurrent use.
type Bus interface {
	// Declare says who reads what: every subscription of the whole pipeline,
	// those of other processes and of external stages too. It is called once,
	// before all else, and asks no broker.
	Declare(subs []Subscription)
	// Connect reaches the broker and makes what was declared exist, so that
	// nothing published afterwards is ever lost for want of a consumer. The
	// caller tries again after any error but a *ConflictError or a
	// *PipelineError, after which it has left nothing there. From then on
	// the driver sees to its connections itself, and makes everything exist
	// again that a broker has lost meanwhile.
	//
	// Who comes first leaves on the broker which pipeline is carried under the
	// prefix; all others compare theirs with it before they make anything.
	Connect(ctx context.Context) error
	// Compare returns a *PipelineError if another pipeline is carried under the
	// prefix. It makes nothing, and works on a bus that was not connected, too.
	Compare(ctx context.Context) error

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

	// Identity returns the name of this bus, driver/prefix/the cluster's own
	// name, as it is now. On an in-memory bus it is new with every process. The
	// ledger compares it at start. It fails while the broker cannot be asked.
	Identity(ctx context.Context) (string, error)

	// Lag returns what each declared group has yet to acknowledge.
	Lag(ctx context.Context) ([]Lag, error)
	// Groups asks the broker who consumes, of every declared subscription in
	// their order. It works on a bus that was not connected, too.
	Groups(ctx context.Context) ([]Group, error)

	// Check returns nil if the bus can carry messages now, else why not.
	Check(ctx context.Context) error

	// Close closes publishers and subscribers. It is called last.
	Close() error
}
