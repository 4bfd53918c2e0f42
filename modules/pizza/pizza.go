// Package pizza is the beginning and the end of the line: the relay puts
// ordered pizzas on the bus, and finished ones are stored in the ledger.
package pizza

import (
	"context"
	"errors"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/idempotency"
	"github.com/pizzamill/pizzamill/platform/module"
	"github.com/pizzamill/pizzamill/platform/stage"
	"github.com/pizzamill/pizzamill/platform/store"
)

// Name of the module, and the source of the events it makes.
const Name = "pizza"

// Module takes orders (its process opens the main listener, whose API writes
// them to the ledger), relays them and stores the finished pizzas.
var Module = module.Module{
	Name:     Name,
	Ledger:   true,
	Main:     true,
	Consumes: func(p event.Pipeline) []string { return []string{p.Last()} },
	Produces: func(p event.Pipeline) []string { return []string{p.First(), event.TopicDeadLetters} },
	Start:    start,
}

func start(env *module.Env) error {
	r := &relay{ledger: env.Ledger, bus: env.Bus, topic: env.Pipeline.First(), log: env.Log.With("module", Name)}
	env.Source("relay", r.run)

	// The ledger's keys make a second delivery harmless; no records are needed.
	stage.Handle(env, Name, env.Pipeline.Last(), idempotency.None{}, func(ctx context.Context, a stage.Arrival) error {
		return finish(ctx, env, a)
	})
	return nil
}

// finish stores a finished pizza, once however often its event comes.
func finish(ctx context.Context, env *module.Env, a stage.Arrival) error {
	steps := env.Pipeline.Steps()
	errs, err := env.Ledger.Advance(ctx, []store.Fact{{
		Pizza:  a.Pizza.ID,
		Step:   steps[len(steps)-1],
		At:     a.At,
		Source: a.Source,
		Body:   a.Pizza.Body(),
		Replay: a.Pizza.Replay,
	}})
	switch {
	case err != nil:
		return stage.Unavailable(err)
	case len(errs) == 0 || errs[0] == nil:
		return nil
	case errors.Is(errs[0], store.ErrNotFound):
		// Stages cannot know what was ordered; the ledger can.
		return &event.ContractError{Reason: "nobody ordered this pizza"}
	default:
		return errs[0]
	}
}
