package amqp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	stock "github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill/message"
	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/event"
)

const (
	// maxShort is the longest name, key or property that AMQP can carry, in bytes.
	maxShort = 255

	metadataCE = "ce_"
	headerCE   = "cloudEvents_"
	headerCE2  = "cloudEvents:" // the other spelling that the AMQP binding of CloudEvents allows

	metadataEncoding = "content-encoding"
)

// marshaler translates the messages of a topic. Both ways never fail on what
// they get: a header that nobody expects is text to us, and no reason to stop
// the queue behind it.
type marshaler struct {
	topic string
	bus   string // identity of the bus that is read
}

var _ stock.Marshaler = marshaler{}

// Marshal makes the headers that follow from the event, and never fails.
func (t marshaler) Marshal(m *message.Message) (amqp091.Publishing, error) {
	full := message.Message{UUID: m.UUID, Metadata: maps.Clone(m.Metadata)} // the caller's stays as it is
	event.AddHeaders(&full, t.topic)
	p := amqp091.Publishing{
		MessageId:    m.UUID,
		DeliveryMode: amqp091.Persistent,
		Timestamp:    stamp(m),
		Body:         m.Payload,
		Headers:      make(amqp091.Table, len(full.Metadata)),
	}
	for name, value := range full.Metadata {
		if property := propertyOf(&p, name); property != nil && len(value) <= maxShort {
			*property = value
			continue
		}
		if attribute, ok := strings.CutPrefix(name, metadataCE); ok && len(headerCE)+len(attribute) <= maxShort {
			name = headerCE + attribute
		}
		if !bookkeeping(name) {
			p.Headers[name] = value
		}
	}
	return p, nil
}

// propertyOf returns where the property that a name of the metadata stands for
// is kept, or nil.
func propertyOf(p *amqp091.Publishing, name string) *string {
	switch name {
	case event.HeaderContentType:
		return &p.ContentType
	case event.HeaderCorrelation:
		return &p.CorrelationId
	case metadataEncoding:
		return &p.ContentEncoding
	}
	return nil
}

// stamp returns when the event of a message happened, as far as it says so. AMQP
// keeps whole seconds.
func stamp(m *message.Message) time.Time {
	at := event.Time(m, bus.StampOf(m, time.Time{}))
	if at.Unix() <= 0 {
		return time.Time{} // AMQP cannot say it
	}
	return at
}

// Unmarshal returns what Marshal was given, or the like of a foreign message. It
// never fails.
func (t marshaler) Unmarshal(d amqp091.Delivery) (*message.Message, error) {
	m := message.NewMessage(d.MessageId, d.Body)
	m.Metadata = make(message.Metadata, len(d.Headers)+2)
	for name, value := range d.Headers {
		if bookkeeping(name) {
			continue
		}
		if attribute, ok := cloudEvent(name); ok {
			name = metadataCE + attribute
		} else if _, known := m.Metadata[name]; known {
			continue // a foreign header that looks like ours
		}
		m.Metadata[name] = text(value)
	}
	for name, value := range map[string]string{
		event.HeaderContentType: d.ContentType,
		event.HeaderCorrelation: d.CorrelationId,
		metadataEncoding:        d.ContentEncoding,
	} {
		if value != "" {
			m.Metadata[name] = value
		}
	}
	o := origin(d)
	o.Bus = t.bus
	bus.SetOrigin(m, o)
	return m, nil
}

func cloudEvent(header string) (attribute string, ok bool) {
	if attribute, ok = strings.CutPrefix(header, headerCE); ok {
		return attribute, true
	}
	return strings.CutPrefix(header, headerCE2)
}

func origin(d amqp091.Delivery) bus.Origin {
	var o bus.Origin
	if d.RoutingKey != "" {
		o.Key = &d.RoutingKey
	}
	// Some clients write milliseconds where seconds belong; such a time is none.
	if year := d.Timestamp.UTC().Year(); d.Timestamp.Unix() > 0 && year < 10_000 {
		o.Time = d.Timestamp.UTC()
	}
	return o
}

// bookkeeping reports whether a header is the broker's own count of this delivery,
// or an order to it, and no part of the event. CC and BCC as text would have a
// message refused.
func bookkeeping(header string) bool {
	switch header {
	case "CC", "BCC", "x-delivery-count", "x-acquired-count":
		return true
	}
	return false
}

// text returns a header's value as text: plain where it is one value, JSON where
// it is a table or an array.
func text(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case amqp091.Table, []any:
		var out bytes.Buffer
		encoder := json.NewEncoder(&out)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(tree(v)); err != nil {
			return fmt.Sprint(v) // tree leaves nothing that JSON cannot write
		}
		return strings.TrimSuffix(out.String(), "\n")
	}
	if s, ok := tree(value).(string); ok {
		return s
	}
	return fmt.Sprint(tree(value))
}

// tree returns a value that both JSON and fmt can write.
func tree(value any) any {
	switch v := value.(type) {
	case amqp091.Table:
		object := make(map[string]any, len(v))
		for name, member := range v {
			object[name] = tree(member)
		}
		return object
	case []any:
		array := make([]any, len(v))
		for i, member := range v {
			array[i] = tree(member)
		}
		return array
	case []byte:
		if utf8.Valid(v) {
			return string(v)
		}
		return base64.StdEncoding.EncodeToString(v)
	case time.Time:
		return event.FormatTime(v)
	case amqp091.Decimal:
		return json.Number(decimal(v))
	case float32, float64:
		plain, err := json.Marshal(v)
		if err != nil {
			return fmt.Sprint(v) // no number, or no end of one
		}
		return json.Number(plain)
	}
	return value // nil, text, truth and whole numbers
}

// decimal writes Value / 10^Scale.
func decimal(d amqp091.Decimal) string {
	if d.Scale == 0 {
		return strconv.Itoa(int(d.Value))
	}
	sign, digits := "", strconv.FormatInt(int64(d.Value), 10)
	if d.Value < 0 {
		sign, digits = "-", digits[1:]
	}
	if missing := int(d.Scale) + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	point := len(digits) - int(d.Scale)
	return sign + digits[:point] + "." + digits[point:]
}
