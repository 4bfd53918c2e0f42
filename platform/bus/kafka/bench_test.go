package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	stock "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/pizzamill/pizzamill/internal/testservice"
	"github.com/pizzamill/pizzamill/platform/bus"
)

const (
	benchHops       = 5  // topics that a message passes, as a pizza does
	benchPartitions = 32 // the best of what stock was measured with
	benchInFlight   = 1024
)

// BenchmarkLine sends events of 250 bytes through five topics, handled by the
// Router at each, on our driver and on stock watermill-kafka with its best
// settings, against the same broker. One operation is one pizza.
func BenchmarkLine(b *testing.B) {
	testservice.Kafka(b)
	noMeters()
	b.Run("pizzamill", func(b *testing.B) { benchmarkLine(b, ours) })
	b.Run("stock", func(b *testing.B) { benchmarkLine(b, stockKafka) })
}

// ends returns a publisher and, for each hop, a subscriber.
type ends func(b *testing.B, prefix string) (message.Publisher, func(hop int) message.Subscriber)

func topicOf(hop int) string { return fmt.Sprintf("hop-%d", hop) }

func ours(b *testing.B, prefix string) (message.Publisher, func(int) message.Subscriber) {
	driver := open(b, Config{Prefix: prefix, Partitions: 8})
	var subs []bus.Subscription
	for hop := range benchHops {
		subs = append(subs, bus.Subscription{Topic: topicOf(hop), Group: "bench"})
	}
	driver.Declare(subs)
	connect1(b, driver)
	b.Cleanup(func() { _ = driver.Close() })
	return driver.Publisher(), func(int) message.Subscriber { return driver.Subscriber("bench") }
}

func stockKafka(b *testing.B, prefix string) (message.Publisher, func(int) message.Subscriber) {
	brokers := []string{testservice.Kafka(b)}
	marshal := stock.NewWithPartitioningMarshaler(func(_ string, m *message.Message) (string, error) {
		pizza, _, _ := strings.Cut(m.UUID, "/")
		return pizza, nil
	})
	config := stock.DefaultSaramaSyncPublisherConfig()
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	pub, err := stock.NewPublisher(stock.PublisherConfig{Brokers: brokers, Marshaler: marshal, OverwriteSaramaConfig: config}, watermill.NopLogger{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = pub.Close() })
	admin, err := sarama.NewClusterAdmin(brokers, sarama.NewConfig())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	for hop := range benchHops {
		err := admin.CreateTopic(prefix+topicOf(hop), &sarama.TopicDetail{NumPartitions: benchPartitions, ReplicationFactor: 1}, false)
		if err != nil && !errors.Is(err, sarama.ErrTopicAlreadyExists) {
			b.Fatal(err)
		}
	}
	return prefixed{prefix, pub}, func(hop int) message.Subscriber {
		config := stock.DefaultSaramaSubscriberConfig()
		config.Consumer.Offsets.Initial = sarama.OffsetOldest
		sub, err := stock.NewSubscriber(stock.SubscriberConfig{
			Brokers: brokers, Unmarshaler: marshal, OverwriteSaramaConfig: config, ConsumerGroup: prefix + topicOf(hop),
		}, watermill.NopLogger{})
		if err != nil {
			b.Fatal(err)
		}
		return prefixedSubscriber{prefix, sub}
	}
}

type prefixed struct {
	prefix string
	message.Publisher
}

func (p prefixed) Publish(topic string, messages ...*message.Message) error {
	return p.Publisher.Publish(p.prefix+topic, messages...)
}

type prefixedSubscriber struct {
	prefix string
	message.Subscriber
}

func (p prefixedSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	return p.Subscriber.Subscribe(ctx, p.prefix+topic)
}

func benchmarkLine(b *testing.B, ends ends) {
	pub, subscriber := ends(b, fresh())
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		b.Fatal(err)
	}
	inFlight := make(chan struct{}, benchInFlight)
	var done atomic.Int64
	finished := make(chan struct{})
	total := int64(b.N) + 1
	for hop := range benchHops {
		router.AddConsumerHandler(topicOf(hop), topicOf(hop), subscriber(hop), func(m *message.Message) error {
			if hop+1 < benchHops {
				return pub.Publish(topicOf(hop+1), message.NewMessage(m.UUID, m.Payload))
			}
			<-inFlight
			if done.Add(1) == total {
				close(finished)
			}
			return nil
		})
	}
	var running sync.WaitGroup
	running.Go(func() { _ = router.Run(context.Background()) })
	<-router.Running()
	payload := []byte(`{"id":"` + strings.Repeat("x", 250-9) + `"}`)
	send := func(ids ...string) {
		var batch []*message.Message
		for _, id := range ids {
			inFlight <- struct{}{}
			batch = append(batch, message.NewMessage(id+"/pizza", payload))
		}
		if err := pub.Publish(topicOf(0), batch...); err != nil {
			b.Error(err)
		}
	}
	send("warm-1")
	for done.Load() == 0 && len(inFlight) > 0 { // until every group has joined
		eventually(b, func() error {
			if done.Load() == 0 {
				return errors.New("the first one is under way")
			}
			return nil
		})
	}
	b.ResetTimer()
	before := cpu(b)
	var senders sync.WaitGroup
	const many, each = 16, 32
	var n atomic.Int64
	for range many {
		senders.Go(func() {
			for {
				from := n.Add(each) - each
				var batch []string
				for i := from; i < min(from+each, int64(b.N)); i++ {
					batch = append(batch, fmt.Sprintf("o-%d", i))
				}
				if len(batch) == 0 {
					return
				}
				send(batch...)
			}
		})
	}
	<-finished
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pizzas/s")
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "µs-cpu/pizza")
	senders.Wait()
	if err := router.Close(); err != nil {
		b.Error(err)
	}
	running.Wait()
}

// cpu returns the processor time of this process. It says more than the time on
// the clock where others use the machine too.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
