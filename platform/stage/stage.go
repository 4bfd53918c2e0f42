// Package stage turns a menu and a pick into a member of the pipeline: it
// registers the Watermill handler of a stage behind the middleware chain that
// makes at-least-once delivery harmless.
package stage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/module"
)

// Stage adds one ingredient to each pizza. It knows neither its neighbours nor
// its topics.
type Stage struct {
	// Name is the stage's name: the JSON field it sets, and its module's name.
	Name string
	// Make returns the ingredient for a pizza: a non-empty string of at most
	// 200 bytes. It must be a function of the pizza alone, so that processing
	// an event twice gives the same pizza; Pick does that. It is called
	// concurrently. An error is retried and then dead-lettered, as is a panic;
	// ctx ends with the attempt's deadline.
	Make func(ctx context.Context, p event.Pizza) (string, error)
}

// FromMenu returns a stage that picks one dish of a menu.
func FromMenu(name string, menu ...string) Stage {
	return Stage{Name: name, Make: func(_ context.Context, p event.Pizza) (string, error) {
		return p.Pick(name, menu), nil
	}}
}

// Module returns the module that runs the stage.
func Module(s Stage) module.Module {
	return module.Module{
		Name:  s.Name,
		Stage: true,
		Consumes: func(p event.Pipeline) []string {
			topic, _ := p.Input(s.Name)
			return []string{topic}
		},
		Produces: func(event.Pipeline) []string {
			return []string{event.Topic(s.Name), event.TopicDeadLetters}
		},
		Start: func(env *module.Env) error { return start(env, s) },
	}
}

func start(env *module.Env, s Stage) error {
	input, ok := env.Pipeline.Input(s.Name)
	if !ok {
		return fmt.Errorf("stage %s is not in the pipeline", s.Name)
	}
	s = withFaults(s, env.Config)
	output, publisher := event.Topic(s.Name), env.Bus.Publisher()
	Handle(env, s.Name, input, env.Records(s.Name), func(ctx context.Context, a Arrival) error {
		value, err := s.Make(ctx, a.Pizza)
		if err != nil {
			return err
		}
		if err := event.CheckIngredient(value); err != nil {
			return fmt.Errorf("stage %s made no ingredient: %w", s.Name, err)
		}
		next := event.NewMessage(a.Pizza.With(s.Name, value), s.Name, s.Name, time.Now(), a.Trace)
		return published(publisher.Publish(output, next))
	})
	return nil
}

// published sorts the error of a publish: what the bus refuses for its size
// breaks the contract, everything else is the bus's own trouble.
func published(err error) error {
	if errors.Is(err, bus.ErrTooLarge) {
		return &event.ContractError{Reason: "with its ingredient the pizza is larger than the bus takes"}
	}
	return Unavailable(err)
}
