package kafka

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"github.com/pizzamill/pizzamill/internal/testservice"
)

// features are what Watermill's suite may expect. Kafka keeps the order of a
// key, and the suite's messages each have their own.
var features = tests.Features{ConsumerGroups: true, Persistent: true}

// It is TestPubSub with everything at once.
func TestWatermillStressSuite(t *testing.T) {
	testservice.Kafka(t)
	t.Parallel()
	tests.TestPubSubStressTest(t, features, newSuitePubSub, newSuiteGroup)
}

func newSuitePubSub(t *testing.T) (message.Publisher, message.Subscriber) {
	return newSuiteGroup(t, "suite-"+watermill.NewShortUUID())
}

func newSuiteGroup(t *testing.T, group string) (message.Publisher, message.Subscriber) {
	pub := suitePublisher{open(t, Config{Partitions: 8})}
	b := open(t, Config{Partitions: 8})
	b.settings.beat = 200 * time.Millisecond // fifty members leave one by one
	b.closeGrace = 50 * time.Millisecond     // the suite leaves messages without a verdict
	return pub, suiteSubscriber{b, b.Subscriber(group)}
}

// suitePublisher is a bus of its own, and creates each topic that it is given.
type suitePublisher struct{ bus *Bus }

func (p suitePublisher) Publish(topic string, messages ...*message.Message) error {
	if err := create(p.bus, topic); err != nil {
		return err
	}
	return p.bus.Publisher().Publish(topic, messages...)
}

func (p suitePublisher) Close() error { return p.bus.Close() }

type suiteSubscriber struct {
	bus *Bus
	message.Subscriber
}

func (s suiteSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if err := create(s.bus, topic); err != nil {
		return nil, err
	}
	return s.Subscriber.Subscribe(ctx, topic)
}

func (s suiteSubscriber) Close() error { return errors.Join(s.Subscriber.Close(), s.bus.Close()) }

var created sync.Map // topics

// create makes a topic exist that nobody declared.
func create(b *Bus, topic string) error {
	if _, ok := created.Load(topic); ok {
		return nil
	}
	defer created.Store(topic, true)
	return b.control.do(func(_ sarama.Client, admin sarama.ClusterAdmin) error {
		err := admin.CreateTopic(b.topicName(topic), &sarama.TopicDetail{NumPartitions: int32(b.config.Partitions), ReplicationFactor: 1}, false)
		if errors.Is(err, sarama.ErrTopicAlreadyExists) {
			return nil
		}
		return err
	})
}
