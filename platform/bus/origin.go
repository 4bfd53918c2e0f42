package bus

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Origin is where a record of a broker came from: what a message has beside its
// body and headers.
type Origin struct {
	// Key is the record's key (Kafka key, AMQP routing key); nil if it has none.
	Key *string
	// Partition and Offset are set where HasOffset is true.
	HasOffset bool
	Partition int32
	Offset    int64
	// Bus is the identity of the bus that the record was read from, see
	// Bus.Identity. A broker may become another one behind the same address.
	Bus string
	// Time is when the broker or the producer's client stamped it; zero if it did not.
	Time time.Time
}

type originKey struct{}

// SetOrigin gives a message an origin. A subscriber of a broker does so with
// every message. A publisher sends a message that has one under the origin's
// key, and every other under its pizza's ID, which is the part of the UUID
// before the first slash.
func SetOrigin(m *message.Message, o Origin) {
	m.SetContext(context.WithValue(m.Context(), originKey{}, o))
}

// OriginOf returns a message's origin, if it has one.
func OriginOf(m *message.Message) (Origin, bool) {
	o, ok := m.Context().Value(originKey{}).(Origin)
	return o, ok
}

// StampOf returns when the broker stamped a consumed message, or otherwise if
// it did not.
func StampOf(m *message.Message, otherwise time.Time) time.Time {
	if o, ok := OriginOf(m); ok && !o.Time.IsZero() {
		return o.Time
	}
	return otherwise
}
