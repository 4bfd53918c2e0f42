package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/pizzamill/pizzamill/internal/testservice"
	"github.com/pizzamill/pizzamill/platform/event"
)

// stock is a pipeline as the packages have it: their publisher and subscriber,
// the Router, four handlers that read the event, set a field and return it.
type stock struct {
	publisher  message.Publisher
	subscriber func(group string) message.Subscriber
}

// BenchmarkBrokers measures the whole path of a pizza over a broker beside a
// pipeline of the stock pub/sub packages on the same broker, in the same run:
//
//	ours   everything in this process as users have it: order, relay, stages
//	       with retry, dead letters and deduplication, a journal of every event,
//	       the finished pizza, all of it synced to SQLite
//	stock  five topics and four handlers, and nothing stored
//
// Both wait for what they publish to be on the broker (acks=all, publisher
// confirms), and both begin at the oldest message.
//
//	PIZZAMILL_TEST_KAFKA=… PIZZAMILL_TEST_AMQP=… go test -run '^$' -bench Brokers -benchtime 3x .
func BenchmarkBrokers(b *testing.B) {
	const pizzas = 6_000
	for _, driver := range []string{"kafka", "amqp"} {
		b.Run(driver, func(b *testing.B) {
			prefix := fmt.Sprintf("bench%d-", time.Now().UnixNano())
			o := options(b)
			o.Config.Bus.Driver, o.Config.Bus.Prefix = driver, prefix+"ours-"
			var other stock
			if driver == "kafka" {
				broker := testservice.Kafka(b)
				o.Config.Kafka.Brokers = []string{broker}
				other = stockKafka(b, broker, prefix)
			} else {
				url := testservice.AMQP(b)
				o.Config.AMQP.URL = url
				other = stockAMQP(b, url)
			}
			url, _, stop := start(b, o)
			defer func() {
				if err := stop(); err != nil {
					b.Error(err)
				}
			}()
			line := other.run(b, prefix)
			bake(b, url, 500) // warm
			line.bake(b, 500)
			var ours, theirs time.Duration
			for b.Loop() {
				begin := time.Now()
				bake(b, url, pizzas)
				ours += time.Since(begin)
				begin = time.Now()
				line.bake(b, pizzas)
				theirs += time.Since(begin)
			}
			n := float64(b.N * pizzas)
			b.ReportMetric(n/ours.Seconds(), "pizzas/s")
			b.ReportMetric(n/theirs.Seconds(), "stock-pizzas/s")
			b.ReportMetric(theirs.Seconds()/ours.Seconds(), "of-stock")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// stockLine is a running stock pipeline.
type stockLine struct {
	stock
	first string
	done  chan string // IDs of finished pizzas
}

// run runs the handlers until the benchmark ends.
func (s stock) run(b *testing.B, prefix string) *stockLine {
	b.Helper()
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: 10 * time.Second}, watermill.NopLogger{})
	if err != nil {
		b.Fatal(err)
	}
	l := &stockLine{stock: s, first: prefix + "pizza", done: make(chan string, 64)}
	in := l.first
	for _, stage := range []string{"sauce", "cheese", "meat", "veggies"} {
		out := prefix + "pizza-with-" + stage
		router.AddHandler(stage, in, s.subscriber(stage), out, s.publisher, func(m *message.Message) ([]*message.Message, error) {
			body := map[string]any{}
			if err := json.Unmarshal(m.Payload, &body); err != nil {
				return nil, err
			}
			body[stage] = "pumpkin cream"
			next, err := json.Marshal(body)
			if err != nil {
				return nil, err
			}
			return message.Messages{message.NewMessage(m.UUID, next)}, nil
		})
		in = out
	}
	router.AddConsumerHandler("done", in, s.subscriber("done"), func(m *message.Message) error {
		l.done <- m.UUID
		return nil
	})
	ended := make(chan error, 1)
	go func() { ended <- router.Run(context.Background()) }()
	<-router.Running()
	b.Cleanup(func() {
		if err := router.Close(); err != nil {
			b.Errorf("stock router: %v", err)
		}
		if err := <-ended; err != nil {
			b.Errorf("stock router: %v", err)
		}
	})
	return l
}

// bake sends n pizzas down the line, from as many callers as help it, and
// returns when they are finished.
func (l *stockLine) bake(b *testing.B, n int) {
	b.Helper()
	const callers = 64
	run := watermill.NewShortUUID()
	numbers := make(chan int)
	var sending sync.WaitGroup
	for range callers {
		sending.Go(func() {
			for i := range numbers {
				p := event.New(event.PizzaID{Order: run, Number: i}, 0).With("note", strings.Repeat("x", 80))
				if err := l.publisher.Publish(l.first, message.NewMessage(p.String(), p.Body())); err != nil {
					b.Errorf("stock publish: %v", err)
				}
			}
		})
	}
	go func() {
		defer close(numbers)
		for i := range n {
			numbers <- i + 1
		}
	}()
	for seen := map[string]bool{}; len(seen) < n; {
		if id := <-l.done; strings.HasPrefix(id, run) {
			seen[id] = true
		}
	}
	sending.Wait()
}

// stockKafka is watermill-kafka on eight partitions by key, its producer as safe
// as ours.
func stockKafka(b *testing.B, broker, prefix string) stock {
	b.Helper()
	marshaler := kafka.NewWithPartitioningMarshaler(func(_ string, m *message.Message) (string, error) { return m.UUID, nil })
	c := kafka.DefaultSaramaSyncPublisherConfig()
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Idempotent = true
	c.Net.MaxOpenRequests = 1
	publisher, err := kafka.NewPublisher(kafka.PublisherConfig{Brokers: []string{broker}, Marshaler: marshaler, OverwriteSaramaConfig: c}, watermill.NopLogger{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = publisher.Close() })
	admin, err := sarama.NewClusterAdmin([]string{broker}, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	for _, step := range []string{"pizza", "pizza-with-sauce", "pizza-with-cheese", "pizza-with-meat", "pizza-with-veggies"} {
		if err := admin.CreateTopic(prefix+step, &sarama.TopicDetail{NumPartitions: 8, ReplicationFactor: 1}, false); err != nil {
			b.Fatal(err)
		}
	}
	return stock{publisher, func(group string) message.Subscriber {
		c := kafka.DefaultSaramaSubscriberConfig()
		c.Consumer.Offsets.Initial = sarama.OffsetOldest
		s, err := kafka.NewSubscriber(kafka.SubscriberConfig{
			Brokers: []string{broker}, Unmarshaler: marshaler, ConsumerGroup: prefix + group, OverwriteSaramaConfig: c,
		}, watermill.NopLogger{})
		if err != nil {
			b.Fatal(err)
		}
		return s
	}}
}

// stockAMQP is watermill-amqp with confirms and a pool of channels.
func stockAMQP(b *testing.B, url string) stock {
	b.Helper()
	config := func(group string) amqp.Config {
		c := amqp.NewDurablePubSubConfig(url, amqp.GenerateQueueNameTopicNameWithSuffix(group))
		c.Publish.ConfirmDelivery = true
		c.Publish.ChannelPoolSize = 64
		c.Consume.Qos.PrefetchCount = 64
		return c
	}
	publisher, err := amqp.NewPublisher(config(""), watermill.NopLogger{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = publisher.Close() })
	return stock{publisher, func(group string) message.Subscriber {
		s, err := amqp.NewSubscriber(config(group), watermill.NopLogger{})
		if err != nil {
			b.Fatal(err)
		}
		return s
	}}
}
