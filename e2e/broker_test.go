package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	amqp "github.com/rabbitmq/amqp091-go"
)

// produce sends one record to a topic of the cluster as any client may: with
// this body, under this key, and without a header.
func (c *cluster) produce(topic, key string, body []byte) {
	c.t.Helper()
	switch c.bus {
	case "kafka":
		c.produceKafka(c.prefix+topic, key, body)
	case "amqp":
		c.produceAMQP(c.prefix+topic, key, body)
	default:
		c.t.Fatalf("nobody can send to %s from outside", c.bus)
	}
}

func (c *cluster) produceKafka(topic, key string, body []byte) {
	c.t.Helper()
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	p, err := sarama.NewSyncProducer(strings.Split(c.setting("KAFKA_BROKERS"), ","), config)
	if err != nil {
		c.t.Fatalf("connect to Kafka: %v", err)
	}
	defer p.Close()
	if _, _, err := p.SendMessage(&sarama.ProducerMessage{
		Topic: topic, Key: sarama.StringEncoder(key), Value: sarama.ByteEncoder(body),
	}); err != nil {
		c.t.Fatalf("send to topic %s: %v", topic, err)
	}
}

func (c *cluster) produceAMQP(exchange, key string, body []byte) {
	c.t.Helper()
	conn, err := amqp.Dial(c.setting("AMQP_URL"))
	if err != nil {
		c.t.Fatalf("connect to RabbitMQ: %v", err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		c.t.Fatalf("open a channel: %v", err)
	}
	if err := ch.Confirm(false); err != nil {
		c.t.Fatalf("ask for confirms: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	sent, err := ch.PublishWithDeferredConfirmWithContext(ctx, exchange, key, false, false,
		amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body})
	if err != nil {
		c.t.Fatalf("send to exchange %s: %v", exchange, err)
	}
	if ok, err := sent.WaitContext(ctx); !ok {
		c.t.Fatalf("exchange %s did not confirm: %v", exchange, err)
	}
}

// heard is an event as a plain client hears it: its ce_id and ce_time.
type heard struct{ id, at string }

// tap begins to listen to topics. The function it returns waits until n
// different events with an ID were heard since, and returns all that were.
func (c *cluster) tap(topics ...string) func(n int) []heard {
	c.t.Helper()
	events := make(chan heard, 10_000)
	switch c.bus {
	case "kafka":
		c.tapKafka(topics, func(headers map[string]string) { events <- heard{headers["ce_id"], headers["ce_time"]} })
	case "amqp":
		c.tapAMQP(topics, func(d amqp.Delivery) {
			at, _ := d.Headers["cloudEvents_time"].(string)
			events <- heard{d.MessageId, at}
		})
	}
	return func(n int) []heard {
		c.t.Helper()
		var all []heard
		ids := map[string]bool{"": true}
		deadline := time.After(cellLimit)
		for len(ids) <= n || len(events) > 0 {
			select {
			case e := <-events:
				all, ids[e.id] = append(all, e), true
			case <-deadline:
				c.t.Fatalf("heard %d of %d events", len(ids)-1, n)
			}
		}
		return all
	}
}

func (c *cluster) tapKafka(topics []string, hear func(headers map[string]string)) {
	c.t.Helper()
	consumer, err := sarama.NewConsumer(strings.Split(c.setting("KAFKA_BROKERS"), ","), sarama.NewConfig())
	if err != nil {
		c.t.Fatalf("connect to Kafka: %v", err)
	}
	c.t.Cleanup(func() { _ = consumer.Close() })
	for _, topic := range topics {
		partitions, err := consumer.Partitions(c.prefix + topic)
		if err != nil {
			c.t.Fatalf("partitions of %s: %v", topic, err)
		}
		for _, p := range partitions {
			reader, err := consumer.ConsumePartition(c.prefix+topic, p, sarama.OffsetNewest)
			if err != nil {
				c.t.Fatalf("read %s: %v", topic, err)
			}
			c.t.Cleanup(func() { _ = reader.Close() })
			go func() {
				for m := range reader.Messages() {
					headers := map[string]string{}
					for _, h := range m.Headers {
						headers[string(h.Key)] = string(h.Value)
					}
					hear(headers)
				}
			}()
		}
	}
}

func (c *cluster) tapAMQP(topics []string, hear func(amqp.Delivery)) {
	c.t.Helper()
	conn, err := amqp.Dial(c.setting("AMQP_URL"))
	if err != nil {
		c.t.Fatalf("connect to RabbitMQ: %v", err)
	}
	c.t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		c.t.Fatalf("open a channel: %v", err)
	}
	q, err := ch.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		c.t.Fatalf("declare a queue: %v", err)
	}
	for _, topic := range topics {
		if err := ch.QueueBind(q.Name, "", c.prefix+topic, false, nil); err != nil {
			c.t.Fatalf("bind to %s: %v", topic, err)
		}
	}
	deliveries, err := ch.Consume(q.Name, "", true, true, false, false, nil)
	if err != nil {
		c.t.Fatalf("consume: %v", err)
	}
	go func() {
		for d := range deliveries {
			hear(d)
		}
	}()
}

// removeFromKafka removes the topics and groups of a prefix. What cannot be
// removed stays: it is in nobody's way.
func removeFromKafka(t testing.TB, brokers, prefix string) {
	admin, err := sarama.NewClusterAdmin(strings.Split(brokers, ","), sarama.NewConfig())
	if err != nil {
		t.Logf("tidy up: %v", err)
		return
	}
	defer admin.Close()
	topics, err := admin.ListTopics()
	if err != nil {
		t.Logf("tidy up: list topics: %v", err)
	}
	for name := range topics {
		if strings.HasPrefix(name, prefix) {
			_ = admin.DeleteTopic(name)
		}
	}
	groups, err := admin.ListConsumerGroups()
	if err != nil {
		t.Logf("tidy up: list groups: %v", err)
	}
	for name := range groups {
		if strings.HasPrefix(name, prefix) {
			_ = admin.DeleteConsumerGroup(name)
		}
	}
}
