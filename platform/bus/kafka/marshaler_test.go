package kafka

import (
	"bytes"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/event"
)

// A record that cannot be read would come first again in every session, and
// block its partition for ever.
func TestEveryForeignRecordBecomesAMessage(t *testing.T) {
	key := []byte("o-1")
	now := time.Now()
	for name, c := range map[string]struct {
		record   sarama.ConsumerMessage
		uuid     string
		metadata message.Metadata
	}{
		"nothing":          {sarama.ConsumerMessage{}, "", message.Metadata{}},
		"null value":       {sarama.ConsumerMessage{Key: key}, "", message.Metadata{}},
		"empty key":        {sarama.ConsumerMessage{Key: []byte{}, Value: []byte("x")}, "", message.Metadata{}},
		"no headers":       {sarama.ConsumerMessage{Key: key, Value: []byte("{}")}, "", message.Metadata{}},
		"its ID":           {sarama.ConsumerMessage{Headers: headers("ce_id", "o-1/pizza")}, "o-1/pizza", message.Metadata{"ce_id": "o-1/pizza"}},
		"binary header":    {sarama.ConsumerMessage{Headers: headers("b\xff", "\x00\xfe\xfd")}, "", message.Metadata{"b\uFFFD": "AP79"}},
		"duplicate header": {sarama.ConsumerMessage{Headers: headers("h", "1", "h", "2")}, "", message.Metadata{"h": "2"}},
		"missing header":   {sarama.ConsumerMessage{Headers: []*sarama.RecordHeader{nil, {}}}, "", message.Metadata{"": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			c.record.Partition, c.record.Offset, c.record.Timestamp = 3, 42, now
			m, err := marshaler{}.Unmarshal(&c.record)
			if err != nil {
				t.Fatal(err)
			}
			if m.UUID != c.uuid || !bytes.Equal(m.Payload, c.record.Value) || (m.Payload == nil) != (c.record.Value == nil) {
				t.Errorf("got %q %q", m.UUID, m.Payload)
			}
			if diff := cmp.Diff(c.metadata, m.Metadata); diff != "" {
				t.Error(diff)
			}
			for k, v := range m.Metadata {
				if !utf8.ValidString(k) || !utf8.ValidString(v) {
					t.Errorf("header %q: %q is no text", k, v)
				}
			}
			o, ok := bus.OriginOf(m)
			if !ok || !o.HasOffset || o.Partition != 3 || o.Offset != 42 || !o.Time.Equal(now) {
				t.Errorf("origin %+v", o)
			}
			if (o.Key == nil) != (c.record.Key == nil) || o.Key != nil && *o.Key != string(c.record.Key) {
				t.Errorf("key %v", o.Key)
			}
		})
	}
}

func headers(pairs ...string) (all []*sarama.RecordHeader) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, &sarama.RecordHeader{Key: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return all
}

// Without a key a record goes to any partition, under an empty one always to
// the same.
func TestKeyIsThePizzaOrThatOfTheOrigin(t *testing.T) {
	key, empty := "k", ""
	for name, c := range map[string]struct {
		uuid   string
		origin *bus.Origin
		want   sarama.Encoder
	}{
		"an event":          {"o-1/sauce/2", nil, sarama.StringEncoder("o-1")},
		"no slash":          {"o-1", nil, sarama.StringEncoder("o-1")},
		"no UUID":           {"", nil, nil},
		"from a key":        {"o-1/sauce", &bus.Origin{Key: &key}, sarama.StringEncoder("k")},
		"from an empty key": {"o-1/sauce", &bus.Origin{Key: &empty}, sarama.StringEncoder("")},
		"from no key":       {"o-1/sauce", &bus.Origin{}, nil},
	} {
		m := message.NewMessage(c.uuid, []byte("{}"))
		if c.origin != nil {
			bus.SetOrigin(m, *c.origin)
		}
		r, err := marshaler{}.Marshal("pizza", m)
		if err != nil {
			t.Fatal(err)
		}
		if r.Key != c.want {
			t.Errorf("%s: key %v, want %v", name, r.Key, c.want)
		}
	}
}

func TestOurEventsAreCloudEvents(t *testing.T) {
	p := event.New(event.PizzaID{Order: "o", Number: 7}, 0)
	m := event.NewMessage(p, event.StepPizza, "pizza", time.UnixMilli(0), "")
	had := len(m.Metadata)
	r, err := marshaler{}.Marshal("pizza", m)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Metadata) != had {
		t.Error("the message itself was changed")
	}
	got := map[string]string{}
	for _, h := range r.Headers {
		got[string(h.Key)] = string(h.Value)
	}
	delete(got, event.HeaderTraceParent)
	want := map[string]string{
		"ce_specversion": "1.0", "ce_id": "o-7/pizza", "ce_source": "pizza", "ce_type": "pizza", "ce_subject": "o-7",
		"ce_time": "1970-01-01T00:00:00.000Z", "content-type": "application/json", "correlation-id": "o",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	back := unmarshal(&sarama.ConsumerMessage{Value: r.Value.(sarama.ByteEncoder), Headers: pointers(r.Headers)}, "")
	if back.UUID != m.UUID || !bytes.Equal(back.Payload, m.Payload) {
		t.Errorf("got back %s %s", back.UUID, back.Payload)
	}
}

func pointers(in []sarama.RecordHeader) (out []*sarama.RecordHeader) {
	for i := range in {
		out = append(out, &in[i])
	}
	return out
}

// Headers that a message came with stay as they are, its ID above all.
func TestForeignHeadersStay(t *testing.T) {
	m := message.NewMessage("mine", nil)
	m.Metadata = message.Metadata{"ce_id": "theirs", "x": "y"}
	r, err := marshaler{}.Marshal("pizza-dead-letters", m)
	if err != nil {
		t.Fatal(err)
	}
	got := unmarshal(&sarama.ConsumerMessage{Headers: pointers(r.Headers)}, "")
	if diff := cmp.Diff(message.Metadata{"ce_id": "theirs", "x": "y"}, got.Metadata); diff != "" {
		t.Error(diff)
	}
	if r.Value != nil {
		t.Error("no value became an empty one")
	}
}
