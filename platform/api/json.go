package api

import (
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

// The JSON of the contract is appended by hand: its fields have an order, a
// pizza has one field for each stage it has behind it, and event streams write
// a lot of it.

// timeFormat has its quotes.
const timeFormat = `"` + event.TimeFormat + `"`

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, "null"...)
	}
	return t.UTC().AppendFormat(b, timeFormat)
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			return appendEscaped(b, s)
		}
	}
	if !utf8.ValidString(s) {
		return appendEscaped(b, s)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func appendEscaped(b []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil { // a string always marshals
		panic("api: marshal string: " + err.Error())
	}
	return append(b, quoted...)
}

// appendName appends a member's name, with a comma unless it is the first.
func appendName(b []byte, name string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

func appendText(b []byte, name, value string) []byte {
	return appendString(appendName(b, name), value)
}

// appendTextOrNull appends a text that may be unknown.
func appendTextOrNull(b []byte, name, value string) []byte {
	if value == "" {
		return append(appendName(b, name), "null"...)
	}
	return appendText(b, name, value)
}

func appendNumber[N int | int64](b []byte, name string, n N) []byte {
	return strconv.AppendInt(appendName(b, name), int64(n), 10)
}

func appendMoment(b []byte, name string, t time.Time) []byte {
	return appendTime(appendName(b, name), t)
}

// appendList appends a member whose value is an array.
func appendList[T any](b []byte, name string, items []T, item func([]byte, T) []byte) []byte {
	b = append(appendName(b, name), '[')
	for i, it := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = item(b, it)
	}
	return append(b, ']')
}

func appendOrder(b []byte, o store.Order) []byte { return append(appendOrderOpen(b, o), '}') }

// appendOrderOpen leaves the brace open, for the pizzas.
func appendOrderOpen(b []byte, o store.Order) []byte {
	b = appendText(append(b, '{'), "id", o.ID)
	b = appendNumber(b, "count", o.Count)
	b = appendText(b, "status", string(o.Status()))
	b = appendNumber(b, "completed", o.Completed)
	b = appendNumber(b, "dead_lettered", o.DeadLettered)
	b = appendMoment(b, "created_at", o.CreatedAt)
	b = appendMoment(b, "completed_at", o.CompletedAt)
	return appendList(b, "progress", o.Progress, func(b []byte, s store.StepCount) []byte {
		b = appendText(append(b, '{'), "step", s.Step)
		return append(appendNumber(b, "count", s.Count), '}')
	})
}

func appendPizza(b []byte, p store.Pizza) []byte {
	b = appendText(append(b, '{'), "id", p.ID.String())
	b = appendText(b, "order_id", p.ID.Order)
	b = appendNumber(b, "number", p.ID.Number)
	b = appendText(b, "status", string(p.Status))
	b = appendTextOrNull(b, "stage", p.Stage())
	b = appendIngredients(b, p)
	return append(appendMoment(b, "completed_at", p.CompletedAt), '}')
}

func appendIngredients(b []byte, p store.Pizza) []byte {
	if len(p.Body) == 0 {
		return b
	}
	body, err := event.Parse(p.Body, nil)
	if err != nil {
		return b // the ledger takes no body that does not parse
	}
	for _, step := range p.Steps {
		if step.Name == event.StepPizza {
			continue
		}
		if value, ok := body.Field(step.Name); ok {
			b = appendText(b, step.Name, value)
		}
	}
	return b
}

func appendJournal(b []byte, id event.PizzaID, entries []store.JournalEntry) []byte {
	b = appendText(append(b, '{'), "pizza_id", id.String())
	b = appendList(b, "events", entries, func(b []byte, e store.JournalEntry) []byte {
		b = appendText(append(b, '{'), "id", e.ID)
		b = appendText(b, "topic", e.Topic)
		b = appendMoment(b, "at", e.At)
		b = appendTextOrNull(b, "source", e.Source)
		b = appendNumber(b, "replay", e.Replay)
		b = appendName(b, "data")
		if len(e.Body) == 0 {
			return append(b, "null}"...)
		}
		return append(append(b, e.Body...), '}')
	})
	return append(b, '}')
}

func appendLetter(b []byte, d store.DeadLetter) []byte { return append(appendLetterOpen(b, d), '}') }

// appendLetterOpen leaves the brace open, for key, headers and body.
func appendLetterOpen(b []byte, d store.DeadLetter) []byte {
	var pizza, order string
	if d.Pizza != nil {
		pizza, order = d.Pizza.String(), d.Pizza.Order
	}
	b = appendText(append(b, '{'), "id", d.ID)
	b = appendText(b, "status", d.Status)
	b = appendTextOrNull(b, "pizza_id", pizza)
	b = appendTextOrNull(b, "order_id", order)
	b = appendText(b, "topic", d.Topic)
	b = appendText(b, "module", d.Module)
	b = appendText(b, "error", d.Error)
	b = appendText(b, "kind", d.Kind)
	b = appendNumber(b, "attempts", d.Attempts)
	b = appendNumber(b, "requeues", d.Requeues)
	b = appendText(b, "fingerprint", d.Fingerprint)
	b = appendMoment(b, "first_failed_at", d.FirstFailed)
	return appendMoment(b, "last_failed_at", d.LastFailed)
}
