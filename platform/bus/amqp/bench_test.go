package amqp

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	stock "github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/pizzamill/pizzamill/platform/bus"
)

const (
	benchHops  = 5
	benchHands = 64 // messages that are published at once at the source, and handled at once per hop
)

// benchBus is what a pipeline needs: hops are topics h0, h1, …, read by group g.
type benchBus struct {
	publisher message.Publisher
	subscribe func(topic string) []<-chan *message.Message
}

// BenchmarkPizza puts events of 250 bytes through five hops, each of which reads
// an event from one queue and publishes it to the next. One operation is one
// pizza at the end.
func BenchmarkPizza(b *testing.B) {
	for _, queueType := range []string{"quorum", "classic"} {
		b.Run(queueType+"/ours", func(b *testing.B) { benchmark(b, ours(b, queueType)) })
		b.Run(queueType+"/stock", func(b *testing.B) { benchmark(b, theirs(b, queueType)) })
	}
}

func benchmark(b *testing.B, c benchBus) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var hops sync.WaitGroup
	var arrived atomic.Int64
	done := make(chan struct{})
	for hop := range benchHops {
		for _, in := range c.subscribe(fmt.Sprint("h", hop)) {
			for range max(1, benchHands/16) {
				hops.Go(func() {
					for m := range in {
						switch {
						case hop == benchHops-1:
							if arrived.Add(1) == int64(b.N) {
								close(done)
							}
						case c.publisher.Publish(fmt.Sprint("h", hop+1), copyOf(m)) != nil:
							m.Nack()
							continue
						}
						m.Ack()
						if ctx.Err() != nil {
							return
						}
					}
				})
			}
		}
	}
	body := []byte(`{"id":"` + strings.Repeat("x", 240) + `"}`)
	b.ResetTimer()
	var next atomic.Int64
	var source sync.WaitGroup
	for range benchHands {
		source.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				m := message.NewMessage(fmt.Sprintf("o-%d/pizza", n), body)
				if err := c.publisher.Publish("h0", m); err != nil {
					b.Error(err)
				}
			}
		})
	}
	source.Wait()
	<-done
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pizzas/s")
}

func copyOf(m *message.Message) *message.Message { return message.NewMessage(m.UUID, m.Payload) }

func benchSubscriptions() []bus.Subscription {
	var subs []bus.Subscription
	for hop := range benchHops {
		subs = append(subs, bus.Subscription{Topic: fmt.Sprint("h", hop), Group: "g"})
	}
	return subs
}

func ours(b *testing.B, queueType string) benchBus {
	config := settings(b)
	config.QueueType = queueType
	driver := open(b, config)
	driver.Declare(benchSubscriptions())
	if err := driver.Connect(b.Context()); err != nil {
		b.Fatal(err)
	}
	return benchBus{driver.Publisher(), func(topic string) []<-chan *message.Message {
		in, err := driver.Subscriber("g").Subscribe(b.Context(), topic)
		if err != nil {
			b.Fatal(err)
		}
		all := make([]<-chan *message.Message, 16) // handlers of one subscription
		for i := range all {
			all[i] = in
		}
		return all
	}}
}

// theirs is watermill-amqp with confirms, a pool of channels and, since a
// subscription has one message in hand, many subscriptions for each queue.
func theirs(b *testing.B, queueType string) benchBus {
	config := stock.NewDurablePubSubConfig(settings(b).URL, stock.GenerateQueueNameTopicNameWithSuffix("g"))
	config.Marshaler = marshaler{}
	config.Publish.ConfirmDelivery = true
	config.Publish.ChannelPoolSize = benchHands
	config.Queue.Arguments = Arguments(queueType)
	config.Consume.Qos.PrefetchCount = 4
	publisher, err := stock.NewPublisher(config, watermill.NopLogger{})
	if err != nil {
		b.Fatal(err)
	}
	subscriber, err := stock.NewSubscriber(config, watermill.NopLogger{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = subscriber.Close(); _ = publisher.Close() })
	return benchBus{publisher, func(topic string) []<-chan *message.Message {
		all := make([]<-chan *message.Message, benchHands)
		for i := range all {
			if all[i], err = subscriber.Subscribe(b.Context(), topic); err != nil {
				b.Fatal(err)
			}
		}
		return all
	}}
}
