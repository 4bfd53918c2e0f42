package kafka

import (
	"encoding/base64"
	"maps"
	"strings"
	"unicode/utf8"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/event"
)

// marshaler translates between messages and records. It never fails: an error
// here would stop a partition for ever, since the record would come first again
// in every session.
type marshaler struct{}

var _ kafka.MarshalerUnmarshaler = marshaler{}

// Marshal makes a record with the headers of a CloudEvent. topic is without
// prefix; the caller gives the record its own.
func (marshaler) Marshal(topic string, m *message.Message) (*sarama.ProducerMessage, error) {
	headers := message.Message{UUID: m.UUID, Metadata: maps.Clone(m.Metadata)}
	if headers.Metadata == nil {
		headers.Metadata = message.Metadata{}
	}
	event.AddHeaders(&headers, topic)
	if _, ok := headers.Metadata[event.HeaderID]; !ok && m.UUID != "" {
		headers.Metadata[event.HeaderID] = m.UUID
	}
	r := &sarama.ProducerMessage{Topic: topic, Headers: make([]sarama.RecordHeader, 0, len(headers.Metadata))}
	for k, v := range headers.Metadata {
		r.Headers = append(r.Headers, sarama.RecordHeader{Key: []byte(k), Value: []byte(v)})
	}
	if key, ok := keyOf(m); ok {
		r.Key = sarama.StringEncoder(key)
	}
	if m.Payload != nil {
		r.Value = sarama.ByteEncoder(m.Payload)
	}
	return r, nil
}

// keyOf returns the key that a message goes out under, if any. Never is that an
// empty one for want of a better: all such records would go to one partition.
func keyOf(m *message.Message) (string, bool) {
	if origin, ok := bus.OriginOf(m); ok {
		if origin.Key == nil {
			return "", false
		}
		return *origin.Key, true
	}
	pizza, _, _ := strings.Cut(m.UUID, "/")
	return pizza, pizza != ""
}

// Unmarshal makes a message of any record: without a value (the payload is
// nil), without a key, without headers, with headers that are no text.
func (marshaler) Unmarshal(r *sarama.ConsumerMessage) (*message.Message, error) {
	return unmarshal(r, ""), nil
}

func unmarshal(r *sarama.ConsumerMessage, identity string) *message.Message {
	m := message.NewMessage("", r.Value)
	m.Metadata = make(message.Metadata, len(r.Headers)+8) // room for those of a dead letter
	for _, h := range r.Headers {
		if h != nil {
			m.Metadata[strings.ToValidUTF8(string(h.Key), "\uFFFD")] = text(h.Value) // of several by one name, the last
		}
	}
	m.UUID = m.Metadata[event.HeaderID]
	origin := bus.Origin{Bus: identity, HasOffset: true, Partition: r.Partition, Offset: r.Offset, Time: r.Timestamp}
	if r.Key != nil {
		key := string(r.Key)
		origin.Key = &key
	}
	bus.SetOrigin(m, origin)
	return m
}

// text returns a header's value as text: what is none, in Base64.
func text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return base64.StdEncoding.EncodeToString(b)
}
