package amqp

import (
	"context"
	"os"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"go.uber.org/goleak"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/bus/bustest"
)

func TestMain(m *testing.M) {
	if _, set := os.LookupEnv("STRESS_TEST_COUNT"); !set {
		_ = os.Setenv("STRESS_TEST_COUNT", "1")
	}
	goleak.VerifyTestMain(m)
}

func TestBus(t *testing.T) {
	t.Parallel()
	config := settings(t)
	for _, queueType := range []string{"quorum", "classic"} {
		t.Run(queueType, func(t *testing.T) {
			t.Parallel()
			bustest.Run(t, bustest.Driver{
				Durable: true,
				New: func(t *testing.T, prefix string) bus.Bus {
					config := config
					config.QueueType, config.Prefix = queueType, queueType+"-"+prefix
					return open(t, config)
				},
			})
		})
	}
}

// Watermill's own suite, which the drivers that come with it pass too.
func TestWatermillSuite(t *testing.T) {
	t.Parallel()
	config := suiteConfig(settings(t))
	tests.TestPubSub(t, features, config.suite("all"), config.suiteGroup)
}

// STRESS_TEST_COUNT says how often the suite runs beside itself: once, if nobody sets it.
func TestWatermillSuiteUnderStress(t *testing.T) {
	t.Parallel()
	config := suiteConfig(settings(t))
	tests.TestPubSubStressTest(t, features, config.suite("all"), config.suiteGroup)
}

var features = tests.Features{ConsumerGroups: true, Persistent: true}

// suiteConfig makes the publishers and subscribers of Watermill's suite.
type suiteConfig Config

func (c suiteConfig) suite(group string) tests.PubSubConstructor {
	return func(t *testing.T) (message.Publisher, message.Subscriber) { return c.suiteGroup(t, group) }
}

func (c suiteConfig) suiteGroup(t *testing.T, group string) (message.Publisher, message.Subscriber) {
	b := open(t, Config(c))
	return b.Publisher(), &suiteSubscriber{bus: b, Subscriber: b.Subscriber(group), group: group}
}

// suiteSubscriber makes queues exist before the first publish, which elsewhere
// Declare and Connect do, and gives messages back that the suite holds when it
// closes the subscriber.
type suiteSubscriber struct {
	bus *Bus
	message.Subscriber
	group   string
	running sync.WaitGroup
}

func (s *suiteSubscriber) Close() error {
	defer s.running.Wait()
	return s.Subscriber.Close()
}

func (s *suiteSubscriber) SubscribeInitialize(topic string) error {
	return s.bus.declare([]bus.Subscription{{Topic: topic, Group: s.group}})
}

func (s *suiteSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	in, err := s.Subscriber.Subscribe(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := make(chan *message.Message)
	s.running.Go(func() {
		defer close(out)
		for m := range in {
			context.AfterFunc(m.Context(), func() { m.Nack() })
			select {
			case out <- m:
			case <-m.Context().Done():
			}
		}
	})
	return out, nil
}
