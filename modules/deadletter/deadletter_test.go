package deadletter

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/stage"
)

// letter returns a record of the dead-letter topic at a place of a broker.
func letter(body string, offset int64, headers ...string) *message.Message {
	m := message.NewMessage("", []byte(body))
	for i := 0; i < len(headers); i += 2 {
		m.Metadata[headers[i]] = headers[i+1]
	}
	key := "its key"
	bus.SetOrigin(m, bus.Origin{Key: &key, HasOffset: true, Partition: 2, Offset: offset})
	return m
}

// A letter's identity is its event's; without one where the event was, and of a
// foreign record where it is itself. The same failure twice is one letter.
func TestIdentity(t *testing.T) {
	pipeline, err := event.NewPipeline("sauce", "cheese")
	if err != nil {
		t.Fatal(err)
	}
	id := func(m *message.Message) string { return parse(m, pipeline, time.Now()).ID }
	failed := []string{
		stage.HeaderLetterTopic, "pizza-with-sauce", stage.HeaderLetterModule, "cheese", stage.HeaderLetterKind, "poison",
		stage.HeaderLetterPartition, "1", stage.HeaderLetterOffset, "7",
	}
	other := append(append([]string{}, failed...), stage.HeaderLetterOffset, "8")
	for name, c := range map[string]struct {
		one, two *message.Message
		same     bool
	}{
		"one event, wherever its letter is":   {letter(`{"id":"o-1"}`, 1, failed...), letter(`{"id":"o-1"}`, 2, other...), true},
		"two events":                          {letter(`{"id":"o-1"}`, 1, failed...), letter(`{"id":"o-2"}`, 1, failed...), false},
		"one place without an event":          {letter(`x`, 1, failed...), letter(`y`, 2, failed...), true},
		"two places without an event":         {letter(`x`, 1, failed...), letter(`x`, 1, other...), false},
		"one foreign record":                  {letter(`x`, 1), letter(`x`, 1), true},
		"two foreign records of one body":     {letter(`x`, 1), letter(`x`, 2), false},
		"a foreign record that names a place": {letter(`x`, 1, stage.HeaderLetterOffset, "7"), letter(`x`, 2, stage.HeaderLetterOffset, "7"), false},
	} {
		if got := id(c.one) == id(c.two); got != c.same {
			t.Errorf("%s: the same letter is %t, want %t", name, got, c.same)
		}
	}
}

// A letter whose body the bus refused still belongs to its pizza: else its order
// would never end.
func TestTruncatedLetterKeepsItsPizza(t *testing.T) {
	pipeline, err := event.NewPipeline("sauce")
	if err != nil {
		t.Fatal(err)
	}
	headers := []string{
		stage.HeaderLetterTopic, "pizza", stage.HeaderLetterModule, "sauce", stage.HeaderLetterKind, "poison",
		stage.HeaderLetterTruncated, "true", stage.HeaderLetterPizza, "o-1", stage.HeaderLetterReplay, "0",
	}
	cut := parse(letter(`{"id":"o-1","note":"xx`, 1, headers...), pipeline, time.Now())
	whole := parse(letter(`{"id":"o-1","note":"xxx"}`, 2, headers[:6]...), pipeline, time.Now())
	if cut.Pizza == nil || cut.Pizza.String() != "o-1" || cut.ID != whole.ID {
		t.Errorf("got pizza %v and ID %s, want o-1 and %s", cut.Pizza, cut.ID, whole.ID)
	}
	if d := parse(letter(`{"id":"o-1","note":"xx`, 1, headers[6:]...), pipeline, time.Now()); d.Kind != "poison" || d.Attempts != 0 {
		t.Errorf("got kind %s and %d attempts of a record that no module sent", d.Kind, d.Attempts)
	}
}

// What a foreign record claims must not keep the ledger from storing it.
func TestForeignNumbersAreBounded(t *testing.T) {
	pipeline, err := event.NewPipeline("sauce")
	if err != nil {
		t.Fatal(err)
	}
	d := parse(letter(`x`, 1, stage.HeaderLetterAttempts, "3000000000", stage.HeaderLetterRequeues, "-1", stage.HeaderLetterKind, "odd"), pipeline, time.Now())
	if d.Attempts != 0 || d.Requeues != 0 || d.Kind != "poison" || d.Error == "" {
		t.Errorf("got attempts %d, requeues %d, kind %s, error %q", d.Attempts, d.Requeues, d.Kind, d.Error)
	}
}

// A letter keeps the key of its record, and says if its body was cut.
func TestKeyAndTruncation(t *testing.T) {
	pipeline, err := event.NewPipeline("sauce")
	if err != nil {
		t.Fatal(err)
	}
	d := parse(letter(`{"id":"o-1"`, 1, stage.HeaderLetterTopic, "pizza", stage.HeaderLetterTruncated, "true", "foreign", "kept"), pipeline, time.Now())
	if d.Key != "its key" || !d.Truncated || d.Pizza != nil || d.Headers["foreign"] != "kept" || len(d.Headers) != 1 {
		t.Errorf("got key %q, truncated %t, pizza %v, headers %v", d.Key, d.Truncated, d.Pizza, d.Headers)
	}
}
