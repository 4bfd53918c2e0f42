package stage

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/pizzamill/pizzamill/platform/config"
	"github.com/pizzamill/pizzamill/platform/event"
)

var (
	errFail  = errors.New("injected fault: this pizza fails on every attempt")
	errFlaky = errors.New("injected fault: this attempt fails")
)

// withFaults returns the stage with the faults that [faults] asks of it, or the
// stage itself. Which pizzas fail or panic is a function of pizza and stage, so
// that a run can be repeated; only flaky is up to chance.
func withFaults(s Stage, c config.Config) Stage {
	f := c.Faults
	fail, panics, flaky, delay := f.Fail[s.Name], f.Panic[s.Name], f.Flaky[s.Name], f.Delay[s.Name]
	if fail == 0 && panics == 0 && flaky == 0 && delay == 0 {
		return s
	}
	inner := s.Make
	s.Make = func(ctx context.Context, p event.Pizza) (string, error) {
		if delay > 0 {
			if err := sleep(ctx, delay); err != nil {
				return "", err
			}
		}
		switch {
		case share(p, s.Name+"/panic") < panics:
			panic("injected fault: this pizza panics on every attempt")
		case share(p, s.Name+"/fail") < fail:
			return "", errFail
		case flaky > 0 && rand.Float64() < flaky:
			return "", errFlaky
		}
		return inner(ctx, p)
	}
	return s
}

// share returns a number in [0, 1) that follows from the pizza and a name.
func share(p event.Pizza, name string) float64 {
	return float64(p.Chance(name)>>11) / (1 << 53)
}

func sleep(ctx context.Context, d time.Duration) error {
	if !Pause(ctx, d) {
		return context.Cause(ctx)
	}
	return nil
}
