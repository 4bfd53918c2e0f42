package event_test

import (
	"regexp"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/pizzamill/pizzamill/platform/event"
)

var at = time.Date(2026, 11, 23, 10, 0, 0, 123_999_999, time.FixedZone("", 3600))

func TestHeadersFollowFromTheEvent(t *testing.T) {
	p := event.New(event.PizzaID{Order: "01kaz7q4m2x8", Number: 7}, 2)
	m := event.NewMessage(p, "sauce", "sauce", at, "")
	event.AddHeaders(m, "pizza-with-sauce")
	want := map[string]string{
		"ce_specversion": "1.0",
		"ce_id":          "01kaz7q4m2x8-7/sauce/2",
		"ce_source":      "sauce",
		"ce_type":        "pizza-with-sauce",
		"ce_subject":     "01kaz7q4m2x8-7",
		"ce_time":        "2026-11-23T09:00:00.123Z",
		"content-type":   "application/json",
		"correlation-id": "01kaz7q4m2x8",
	}
	for name, value := range want {
		if m.Metadata[name] != value {
			t.Errorf("%s: got %q, want %q", name, m.Metadata[name], value)
		}
	}
	if got := m.Metadata["traceparent"]; !regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-00$`).MatchString(got) {
		t.Errorf("traceparent %q", got)
	}
	if len(m.Metadata) != len(want)+1 {
		t.Errorf("headers %v", m.Metadata)
	}
}

func TestOneTraceAlongThePathOfAPizza(t *testing.T) {
	p := event.New(event.PizzaID{Order: "o", Number: 1}, 0)
	first, second := event.NewMessage(p, "pizza", "pizza", at, ""), event.NewMessage(p, "sauce", "sauce", at, "")
	event.AddHeaders(first, "pizza")
	event.AddHeaders(second, "pizza-with-sauce")
	a, b := first.Metadata["traceparent"], second.Metadata["traceparent"]
	if a[:35] != b[:35] || a == b {
		t.Errorf("%s, then %s", a, b)
	}
	sampled := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	third := event.NewMessage(p, "cheese", "cheese", at, sampled)
	event.AddHeaders(third, "pizza-with-cheese")
	if c := third.Metadata["traceparent"]; c[:36] != sampled[:36] || c[52:] != "-01" || c == sampled {
		t.Errorf("%s became %s", sampled, c)
	}
}

func TestHeadersOfAForeignMessageStayAsTheyAre(t *testing.T) {
	m := message.NewMessage("x", []byte(`{"id":"o-7"}`))
	m.Metadata.Set("x-own", "1")
	event.AddHeaders(m, "pizza")
	if len(m.Metadata) != 1 {
		t.Errorf("got %v", m.Metadata)
	}
}

func TestTimeIsTheEventsOwnOrElseTheReceipt(t *testing.T) {
	m := message.NewMessage("x", nil)
	if got := event.Time(m, at); !got.Equal(at.Truncate(time.Millisecond)) {
		t.Errorf("got %v", got)
	}
	m.Metadata.Set("ce_time", "2026-11-23T12:00:00.5+02:00")
	if got := event.FormatTime(event.Time(m, at)); got != "2026-11-23T10:00:00.500Z" {
		t.Errorf("got %v", got)
	}
	m.Metadata.Set("ce_time", "yesterday")
	if got := event.Time(m, at); !got.Equal(at.Truncate(time.Millisecond)) {
		t.Errorf("got %v", got)
	}
}
