package gochannel

import (
	"context"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"go.uber.org/goleak"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/bus/bustest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBus(t *testing.T) {
	bustest.Run(t, bustest.Driver{
		New: func(_ *testing.T, prefix string) bus.Bus { return New(prefix, watermill.NopLogger{}) },
	})
}

// Watermill's own suite publishes before it subscribes, so here GoChannel
// keeps what it gets.
func TestWatermillSuite(t *testing.T) {
	tests.TestPubSub(t,
		tests.Features{ExactlyOnceDelivery: true, RequireSingleInstance: true, ContextPreserved: true},
		func(*testing.T) (message.Publisher, message.Subscriber) {
			b := newBus("", gochannel.Config{Persistent: true, PreserveContext: true}, watermill.NopLogger{})
			return closingPublisher{b.Publisher(), b}, b.Subscriber("suite")
		}, nil)
}

// closingPublisher closes the bus, as the suite expects of a publisher.
type closingPublisher struct {
	message.Publisher
	bus *Bus
}

func (p closingPublisher) Close() error { return p.bus.Close() }

// However slow the groups are, what they have yet to acknowledge stays bounded.
func TestBacklogStaysBoundedWhenAllEventsPileUp(t *testing.T) {
	b := New("", watermill.NopLogger{})
	defer func() { _ = b.Close() }()
	topics := []string{"t0", "t1", "t2", "t3"}
	var subs []bus.Subscription
	for _, topic := range topics {
		subs = append(subs, bus.Subscription{Topic: topic, Group: "next"}, bus.Subscription{Topic: topic, Group: "journal"})
	}
	b.Declare(subs)
	var pizzas int
	for { // a journal that acknowledges nothing, stages that do at once
		full, cancel := context.WithCancel(t.Context())
		cancel()
		n, err := b.Room(full, 100)
		if err != nil {
			break
		}
		for range n {
			pizzas++
			for _, topic := range topics {
				if err := b.Publisher().Publish(topic, message.NewMessage("x", nil)); err != nil {
					t.Fatal(err)
				}
				g, _ := b.groupOf(topic, "next")
				b.acknowledged(g, 1)
			}
		}
	}
	if got := b.backlog.Load(); got > MaxBacklog {
		t.Errorf("%d pizzas made a backlog of %d, want at most %d", pizzas, got, MaxBacklog)
	}
}
