package e2e

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"
	amqp "github.com/rabbitmq/amqp091-go"
)

// caseHeader names a record wherever it turns up.
const caseHeader = "case"

// sendAll sends records as a client does that knows nothing of pizzamill.
func (c *cluster) sendAll(records []record) {
	c.t.Helper()
	if c.bus == "kafka" {
		c.sendKafka(records)
	} else {
		c.sendAMQP(records)
	}
}

func (c *cluster) sendKafka(records []record) {
	c.t.Helper()
	p := c.rawProducer()
	defer p.Close()
	for _, r := range records {
		m := &sarama.ProducerMessage{Topic: c.prefix + r.topic}
		if r.key != nil {
			m.Key = sarama.StringEncoder(*r.key)
		}
		if r.body != nil {
			m.Value = sarama.ByteEncoder(r.body)
		}
		if !r.bare {
			for _, h := range append(slices.Clone(r.headers), header{caseHeader, r.name}) {
				value, ok := h.value.([]byte)
				if !ok {
					value = []byte(h.value.(string))
				}
				m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.name), Value: value})
			}
		}
		if _, _, err := p.SendMessage(m); err != nil {
			c.t.Fatalf("send %s: %v", r.name, err)
		}
	}
}

// rawProducer returns a producer that leaves it to the broker what is too large.
func (c *cluster) rawProducer() sarama.SyncProducer {
	c.t.Helper()
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	config.Producer.MaxMessageBytes = 4 << 20
	p, err := sarama.NewSyncProducer(strings.Split(c.setting("KAFKA_BROKERS"), ","), config)
	if err != nil {
		c.t.Fatalf("connect to Kafka: %v", err)
	}
	return p
}

func (c *cluster) sendAMQP(records []record) {
	c.t.Helper()
	conn, ch := c.rawChannel()
	defer conn.Close()
	if err := ch.Confirm(false); err != nil {
		c.t.Fatalf("ask for confirms: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, r := range records {
		m := amqp.Publishing{DeliveryMode: amqp.Persistent, Body: r.body}
		if !r.bare {
			m.Headers = amqp.Table{caseHeader: r.name}
			for _, h := range r.headers {
				m.Headers[h.name] = h.value
			}
		}
		key := ""
		if r.key != nil {
			key = *r.key
		}
		sent, err := ch.PublishWithDeferredConfirmWithContext(ctx, c.prefix+r.topic, key, false, false, m)
		if err != nil {
			c.t.Fatalf("send %s: %v", r.name, err)
		}
		if ok, err := sent.WaitContext(ctx); !ok {
			c.t.Fatalf("send %s: not confirmed: %v", r.name, err)
		}
	}
}

func (c *cluster) rawChannel() (*amqp.Connection, *amqp.Channel) {
	c.t.Helper()
	conn, err := amqp.Dial(c.setting("AMQP_URL"))
	if err != nil {
		c.t.Fatalf("connect to RabbitMQ: %v", err)
	}
	ch, err := conn.Channel()
	if err != nil {
		c.t.Fatalf("open a channel: %v", err)
	}
	return conn, ch
}

// largest returns a body, made by with of some padding, that is as large as a
// topic of the cluster takes under a key and a header, to the byte. It finds out
// on a topic beside the others.
func (c *cluster) largest(r record, with func(padding string) []byte) []byte {
	c.t.Helper()
	admin, err := sarama.NewClusterAdmin(strings.Split(c.setting("KAFKA_BROKERS"), ","), sarama.NewConfig())
	if err != nil {
		c.t.Fatalf("connect to Kafka: %v", err)
	}
	defer admin.Close()
	scratch := c.prefix + "scratch"
	err = admin.CreateTopic(scratch, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false)
	if err != nil && !errors.Is(err, sarama.ErrTopicAlreadyExists) {
		c.t.Fatalf("create topic %s: %v", scratch, err)
	}
	p := c.rawProducer()
	defer p.Close()
	fits, not := 1_000_000, 2<<20
	for fits+1 < not {
		n := (fits + not) / 2
		_, _, err := p.SendMessage(&sarama.ProducerMessage{
			Topic: scratch, Key: sarama.StringEncoder(*r.key), Value: sarama.ByteEncoder(with(strings.Repeat("n", n))),
			Headers: []sarama.RecordHeader{{Key: []byte(caseHeader), Value: []byte(r.name)}},
		})
		switch {
		case err == nil:
			fits = n
		case errors.Is(err, sarama.ErrMessageSizeTooLarge):
			not = n
		case errors.Is(err, sarama.ErrUnknownTopicOrPartition), errors.Is(err, sarama.ErrLeaderNotAvailable):
			// The topic was made a moment ago.
		default:
			c.t.Fatalf("send %d bytes: %v", n, err)
		}
	}
	return with(strings.Repeat("n", fits))
}
