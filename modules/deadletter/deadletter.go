// Package deadletter stores the dead letters of all modules in the ledger.
package deadletter

import (
	"context"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

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
			return stage.Unavailable(env.Ledger.AddDeadLetter(ctx, parse(m, env.Pipeline, time.Now())))
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
	}
	if d.Kind == "" {
		d.Kind, d.Error = store.KindPoison, "a record on "+event.TopicDeadLetters+" that no module sent"
	}
	identity := []string{d.Topic, m.UUID}
	if m.UUID == "" {
		identity[1] = string(m.Payload)
	}
	if p, err := event.Parse(m.Payload, nil); err == nil {
		d.Pizza = &p.ID
		d.Key = p.String()
		if step, ok := pipeline.StepOf(d.Topic); ok {
			identity = []string{p.EventID(step)}
		}
	}
	d.ID = store.LetterID(d.Module, identity...)
	d.Fingerprint = store.Fingerprint(d.Module, d.Kind, d.Error)
	return d
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
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

func at(s string, otherwise time.Time) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return otherwise
	}
	return t
}
