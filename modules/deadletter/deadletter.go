// Package deadletter stores the dead letters of all modules in the ledger.
package deadletter

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/module"
	"github.com/pizzamill/pizzamill/platform/stage"
	"github.com/pizzamill/pizzamill/platform/store"
)

// Name of the module and its consumer group.
const Name = "deadletter"

// Module stores dead letters.
var Module = module.Module{
	Name:     Name,
	Ledger:   true,
	Consumes: func(event.Pipeline) []string { return []string{event.TopicDeadLetters} },
	Start: func(env *module.Env) error {
		// A letter that cannot be stored waits: there is no dead letter of a dead letter.
		stage.HandleRaw(env, Name, event.TopicDeadLetters, func(ctx context.Context, m *message.Message) error {
			return stage.Unavailable(env.Ledger.AddDeadLetter(ctx, parse(m, env.Pipeline, bus.StampOf(m, time.Now()))))
		})
		return nil
	},
}

// parse reads whatever is on the topic. A foreign record has no headers of
// ours and perhaps no pizza in it; it is kept with what can be known.
func parse(m *message.Message, pipeline event.Pipeline, received time.Time) store.DeadLetter {
	h := m.Metadata
	d := store.DeadLetter{
		Topic:       h[stage.HeaderLetterTopic],
		Module:      h[stage.HeaderLetterModule],
		Error:       h[stage.HeaderLetterError],
		Kind:        h[stage.HeaderLetterKind],
		Attempts:    number(h[stage.HeaderLetterAttempts]),
		Requeues:    number(h[stage.HeaderLetterRequeues]),
		FirstFailed: at(h[stage.HeaderLetterFirst], received),
		LastFailed:  at(h[stage.HeaderLetterLast], received),
		Headers:     eventHeaders(h),
		Body:        m.Payload,
		Truncated:   h[stage.HeaderLetterTruncated] == "true",
	}
	origin, _ := bus.OriginOf(m)
	if origin.Key != nil {
		d.Key = *origin.Key
	}
	if !slices.Contains([]string{store.KindPoison, store.KindExhausted, store.KindPanic}, d.Kind) {
		d.Kind, d.Error = store.KindPoison, "a record on "+event.TopicDeadLetters+" that no module sent"
	}
	identity := place(d, m, origin)
	if id, replay, ok := pizza(m, d.Truncated); ok {
		d.Pizza = &id
		if d.Key == "" {
			d.Key = id.String()
		}
		if step, ok := pipeline.StepOf(d.Topic); ok {
			identity = []string{event.ID(id.String(), step, replay)}
		}
	}
	d.ID = store.LetterID(d.Module, identity...)
	d.Fingerprint = store.Fingerprint(d.Module, d.Kind, d.Error)
	return d
}

// pizza returns the pizza that a letter is about. That follows from its body;
// one whose body had to be cut says it in headers.
func pizza(m *message.Message, truncated bool) (id event.PizzaID, replay int, ok bool) {
	if p, err := event.Parse(m.Payload, nil); err == nil {
		return p.ID, p.Replay, true
	}
	if !truncated {
		return event.PizzaID{}, 0, false
	}
	id, err := event.ParsePizzaID(m.Metadata[stage.HeaderLetterPizza])
	return id, number(m.Metadata[stage.HeaderLetterReplay]), err == nil
}

// place is the identity of a letter whose event has none: where the event was,
// or the letter itself if it is a foreign record, else what it is.
func place(d store.DeadLetter, m *message.Message, origin bus.Origin) []string {
	topic, partition, offset := d.Topic, m.Metadata[stage.HeaderLetterPartition], m.Metadata[stage.HeaderLetterOffset]
	if topic == "" {
		topic, partition, offset = event.TopicDeadLetters, "", ""
		if origin.HasOffset {
			partition, offset = strconv.Itoa(int(origin.Partition)), strconv.FormatInt(origin.Offset, 10)
		}
	}
	switch {
	case offset != "":
		return []string{topic, partition, offset}
	case m.UUID != "":
		return []string{topic, m.UUID}
	default:
		return []string{topic, string(m.Payload)}
	}
}

// eventHeaders are those that the event had when it failed.
func eventHeaders(h message.Metadata) map[string]string {
	headers := maps.Clone(h)
	maps.DeleteFunc(headers, func(name, _ string) bool {
		return strings.HasPrefix(name, "dead-letter-")
	})
	return headers
}

func number(s string) int {
	n, err := strconv.ParseInt(s, 10, 32) // as much as every database keeps
	if err != nil || n < 0 {
		return 0
	}
	return int(n)
}

func at(s string, otherwise time.Time) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return otherwise
	}
	return t
}
