package amqp

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp091 "github.com/rabbitmq/amqp091-go"
	"pgregory.net/rapid"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/event"
)

// What others see of our events, on the wire.
func TestEventOnTheWire(t *testing.T) {
	config := settings(t)
	b := pizzaBus(t, config)
	pizza := event.New(event.PizzaID{Order: "order", Number: 7}, 0)
	at := time.Date(2026, 11, 23, 10, 0, 0, 123e6, time.UTC)
	sent := event.NewMessage(pizza, "pizza", "pizza", at, "")
	publish(t, b, sent)
	if len(sent.Metadata) != 2 {
		t.Errorf("the message that was published is changed: %v", sent.Metadata)
	}
	d, ok, err := raw(t, config).Get("test-pizza.a", true)
	if err != nil || !ok {
		t.Fatalf("no message: %v", err)
	}
	traceparent, _ := d.Headers["traceparent"].(string)
	delete(d.Headers, "traceparent")
	delete(d.Headers, "x-delivery-count") // the broker's
	headers, _ := json.Marshal(d.Headers)
	got := fmt.Sprintf("%s\n%s %s %s %s %d %v\n%s", headers, d.RoutingKey, d.MessageId, d.CorrelationId, d.ContentType, d.DeliveryMode, d.Timestamp.UTC(), d.Body)
	const want = `{"cloudEvents_id":"order-7/pizza","cloudEvents_source":"pizza","cloudEvents_specversion":"1.0",` +
		`"cloudEvents_subject":"order-7","cloudEvents_time":"2026-11-23T10:00:00.123Z","cloudEvents_type":"pizza"}
order-7 order-7/pizza order application/json 2 2026-11-23 10:00:00 +0000 UTC
{"id":"order-7","order_id":"order","number":7}`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if len(traceparent) != 55 {
		t.Errorf("traceparent %q", traceparent)
	}
}

// A message goes on under the key it came with, and any other under its pizza's ID.
func TestKeys(t *testing.T) {
	key, own := "foreign", message.NewMessage("o-1/sauce/2", nil)
	foreign, keyless := message.NewMessage("", nil), message.NewMessage("o-1/sauce", nil)
	bus.SetOrigin(foreign, bus.Origin{Key: &key})
	bus.SetOrigin(keyless, bus.Origin{})
	for want, m := range map[string]*message.Message{"o-1": own, "foreign": foreign, "": keyless} {
		if got := keyOf(m); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Unmarshal undoes Marshal, whatever the message.
func TestMarshalAndBack(t *testing.T) {
	name := rapid.OneOf(
		rapid.SampledFrom([]string{"ce_time", "ce_source", "ce_id", "ce_x", "content-type", "content-encoding", "correlation-id", "traceparent", "x"}),
		rapid.StringMatching(`[a-z_:-]{1,20}`),
	)
	value := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z]{250,260}`))
	rapid.Check(t, func(t *rapid.T) {
		m := message.NewMessage(rapid.String().Draw(t, "uuid"), rapid.SliceOf(rapid.Byte()).Draw(t, "body"))
		m.Metadata = rapid.MapOf(name, value).Draw(t, "metadata")
		delete(m.Metadata, "")
		for _, property := range []string{"content-type", "content-encoding", "correlation-id"} {
			if m.Metadata[property] == "" {
				delete(m.Metadata, property) // AMQP knows no property that is there and empty
			}
		}
		want := maps.Clone(m.Metadata)
		if _, ours := want["ce_source"]; ours {
			want["ce_id"] = m.Metadata["ce_id"] // without which AddHeaders would add more
			m.Metadata["ce_id"] = want["ce_id"]
		}
		p, err := marshaler{topic: "pizza"}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := marshaler{topic: "pizza"}.Unmarshal(delivery(p))
		if err != nil {
			t.Fatal(err)
		}
		if got.UUID != m.UUID || string(got.Payload) != string(m.Payload) || !maps.Equal(got.Metadata, want) {
			t.Errorf("got %q %v, want %q %v", got.UUID, got.Metadata, m.UUID, want)
		}
	})
}

func delivery(p amqp091.Publishing) amqp091.Delivery {
	return amqp091.Delivery{
		MessageId: p.MessageId, Headers: p.Headers, Body: p.Body, Timestamp: p.Timestamp,
		ContentType: p.ContentType, ContentEncoding: p.ContentEncoding, CorrelationId: p.CorrelationId,
	}
}

func TestForeignValuesBecomeText(t *testing.T) {
	for _, c := range []struct {
		value any
		want  string
	}{
		{nil, ""},
		{"text", "text"},
		{true, "true"},
		{byte(7), "7"},
		{int8(-7), "-7"},
		{int16(-7), "-7"},
		{int32(-7), "-7"},
		{int64(math.MaxInt64), "9223372036854775807"},
		{uint16(7), "7"},
		{uint32(7), "7"},
		{float32(1.5), "1.5"},
		{float64(100000000), "100000000"},
		{math.NaN(), "NaN"},
		{math.Inf(1), "+Inf"},
		{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), "2026-01-02T03:04:05.000Z"},
		{amqp091.Decimal{Scale: 2, Value: 12345}, "123.45"},
		{amqp091.Decimal{Scale: 3, Value: -5}, "-0.005"},
		{amqp091.Decimal{Value: 5}, "5"},
		{amqp091.Decimal{Scale: 1, Value: math.MinInt32}, "-214748364.8"},
		{[]byte("bytes"), "bytes"},
		{[]byte{0xff}, "/w=="},
		{[]any{}, "[]"},
		{amqp091.Table{}, "{}"},
		{
			amqp091.Table{
				"b": []any{int32(1), nil, "<&>", amqp091.Decimal{Scale: 1, Value: 15}, math.NaN(), []byte{0xff}},
				"a": amqp091.Table{"at": time.Unix(0, 0), "f": 2.5, "ok": true},
			},
			`{"a":{"at":"1970-01-01T00:00:00.000Z","f":2.5,"ok":true},"b":[1,null,"<&>",1.5,"NaN","/w=="]}`,
		},
	} {
		if got := text(c.value); got != c.want {
			t.Errorf("%T %v: got %q, want %q", c.value, c.value, got, c.want)
		}
	}
}

func TestForeignMessage(t *testing.T) {
	m, err := marshaler{topic: "pizza"}.Unmarshal(amqp091.Delivery{
		Headers: amqp091.Table{
			"cloudEvents:time": "2026-11-23T10:00:00Z", "cloudEvents_source": "elsewhere", "ce_source": "not this",
			"CC": []any{"x"}, "x-death": []any{}, "x-first-death-queue": "q", "n": int64(1),
		},
		RoutingKey: "k", Timestamp: time.Unix(1700000000, 0), Body: []byte("x"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(m.Metadata), "map[ce_source:elsewhere ce_time:2026-11-23T10:00:00Z n:1 x-death:[] x-first-death-queue:q]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	o, ok := bus.OriginOf(m)
	if !ok || *o.Key != "k" || o.HasOffset || o.Time.Unix() != 1700000000 || m.UUID != "" {
		t.Errorf("origin %+v, UUID %q", o, m.UUID)
	}
	for _, at := range []time.Time{{}, time.Unix(0, 0), time.Unix(-5, 0), time.Unix(1700000000000, 0), time.Unix(math.MaxInt64, 0)} {
		m, _ := marshaler{topic: "pizza"}.Unmarshal(amqp091.Delivery{Timestamp: at})
		if o, _ := bus.OriginOf(m); !o.Time.IsZero() || o.Key != nil {
			t.Errorf("%v: %+v", at, o)
		}
	}
}

// CC as text has the broker close the channel, with all that is on its way there.
func TestOrdersToTheBrokerAreNotPassedOn(t *testing.T) {
	b := pizzaBus(t, settings(t))
	b.patience = 5 * time.Second
	m := pizzas(1, 1)[0]
	for _, name := range []string{"CC", "BCC", "x-acquired-count", "x-delivery-count"} {
		m.Metadata.Set(name, "x")
	}
	m.Metadata.Set("kept", strings.Repeat("é", 200))
	m.Metadata.Set("x-death", `[{"count":1}]`) // as it comes out of a dead letter
	publish(t, b, m)
	in, _ := subscribe(t, b)
	got := next(t, in)
	got.Ack()
	if len(got.Metadata) != 2 {
		t.Errorf("got %v", got.Metadata)
	}
}

func TestTopology(t *testing.T) {
	exchanges, queues := Topology("p-", "quorum", []bus.Subscription{{Topic: "pizza", Group: "sauce"}, {Topic: "pizza", Group: "journal"}})
	got, err := json.Marshal(map[string]any{"exchanges": exchanges, "queues": queues})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"exchanges":[{"name":"p-pizza","type":"fanout","durable":true}],` +
		`"queues":[{"name":"p-pizza.sauce","exchange":"p-pizza","durable":true,"arguments":{"x-delivery-limit":2147483647,"x-queue-type":"quorum"}},` +
		`{"name":"p-pizza.journal","exchange":"p-pizza","durable":true,"arguments":{"x-delivery-limit":2147483647,"x-queue-type":"quorum"}}]}`
	if string(got) != want {
		t.Errorf("got %s", got)
	}
	if got := fmt.Sprint(Arguments("classic")); got != "map[x-queue-type:classic]" {
		t.Errorf("got %s", got)
	}
}
