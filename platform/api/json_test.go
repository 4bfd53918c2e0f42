package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares what was written with testdata/name.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; -update writes it):\n%s", path, diff)
	}
}

var noon = time.Date(2026, 11, 23, 10, 0, 0, 123_999_999, time.FixedZone("", 3600)) // 09:00:00.123 UTC

func somePizza(number int, stages ...string) store.Pizza {
	p := store.Pizza{ID: event.PizzaID{Order: "0abc", Number: number}, Status: store.Cooking}
	body := event.New(p.ID, 0)
	p.Steps = []store.Step{{Name: event.StepPizza, At: noon}}
	for _, s := range stages {
		p.Steps = append(p.Steps, store.Step{Name: s, At: noon})
		body = body.With(s, "best "+s)
	}
	p.Body = body.Body()
	return p
}

func TestWireJSON(t *testing.T) {
	order := store.Order{
		ID: "0abc", Count: 3, Completed: 1, CreatedAt: noon,
		Progress: []store.StepCount{{Step: "pizza", Count: 3}, {Step: "sauce", Count: 2}},
	}
	done := order
	done.Completed, done.CompletedAt = 3, noon.Add(time.Second)

	plain := store.Pizza{ID: event.PizzaID{Order: "0abc", Number: 1}, Status: store.Cooking}
	finished := somePizza(7, "sauce", "cheese")
	finished.Status, finished.CompletedAt = store.Complete, noon
	odd := somePizza(8, "sauce")
	parsed, err := event.Parse(odd.Body, nil)
	if err != nil {
		t.Fatal(err)
	}
	odd.Body = parsed.With("sauce", "\"crème\\fraîche\" <& \n🍕 \u2028").With("unknown", "kept out").Body()
	odd.Status = store.DeadLettered

	id := event.PizzaID{Order: "0abc", Number: 7}
	letter := store.DeadLetter{
		ID: "x_-1", Status: store.LetterDead, Pizza: &id, Topic: "pizza", Module: "sauce", Error: "no tomatoes",
		Kind: store.KindExhausted, Attempts: 5, Fingerprint: "f", FirstFailed: noon, LastFailed: noon.Add(time.Minute),
	}
	foreign := store.DeadLetter{ID: "y", Status: store.LetterDiscarded, Topic: "pizza", Module: "sauce", Kind: store.KindPoison}
	var out []byte
	for _, b := range [][]byte{
		appendOrder(nil, order), appendOrder(nil, done),
		appendPizza(nil, plain), appendPizza(nil, somePizza(2)), appendPizza(nil, finished), appendPizza(nil, odd),
		appendJournal(nil, id, nil),
		appendJournal(nil, id, []store.JournalEntry{
			{ID: "0abc-7/pizza", Topic: "pizza", At: noon, Body: []byte(`{"id":"0abc-7"}`)},
			{ID: "0abc-7/sauce/2", Topic: "pizza-with-sauce", At: noon, Source: "sauce", Replay: 2, Body: []byte(`{ "id": "0abc-7" }`)},
		}),
		appendLetter(nil, letter), appendLetter(nil, foreign),
	} {
		if !json.Valid(b) {
			t.Errorf("not JSON: %s", b)
		}
		out = append(append(out, b...), '\n')
	}
	golden(t, "wire.golden", out)
}

func TestEventsOnTheWire(t *testing.T) {
	finished := somePizza(7, "sauce", "cheese")
	finished.Status, finished.CompletedAt = store.Complete, noon
	id := finished.ID
	var out []byte
	for _, e := range []store.StreamEvent{
		{Seq: 1, Kind: store.EventDispatched, Pizza: id, At: noon},
		{Seq: 2, Kind: store.EventStage, Pizza: id, At: noon, Step: "sauce", Value: "two\nlines"},
		{Seq: 3, Kind: store.EventDeadLetter, Pizza: id, At: noon, Module: "cheese", Error: "no \"cheese\"\r\n\r\nid: 7"},
		{Seq: 4, Kind: store.EventComplete, Pizza: id, At: noon, Done: &finished},
	} {
		out = appendEvent(out, e)
	}
	if n := bytes.Count(out, []byte("\n")); n != 4*4 {
		t.Errorf("%d lines: text of an event has broken its line:\n%s", n, out)
	}
	golden(t, "events.golden", out)
}

func BenchmarkAppendPizza(b *testing.B) {
	p := somePizza(7, "sauce", "cheese", "meat", "veggies")
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = appendPizza(buf[:0], p)
	}
}
