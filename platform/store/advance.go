package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/pizzamill/pizzamill/platform/event"
)

// ErrUnknownStep: the step of a fact is not in the pipeline.
var ErrUnknownStep = errors.New("step is not in the pipeline")

// Advance writes facts, all in one commit. errs is nil if every fact was
// taken (or known already), else it has the error of each: ErrNotFound for a
// pizza that nobody ordered, or a replay nobody asked for; ErrUnknownStep; a
// *event.ContractError for a body that cannot be read where earlier steps
// must be inferred from it; anything else for a row that cannot be read or
// written, such as ErrConflict. One bad fact does not keep the others from being
// written. err is for all of them, such as ErrUnavailable, or for the only one.
// The ledger keeps no body after the call.
func (l *Ledger) Advance(ctx context.Context, facts []Fact) (errs []error, err error) {
	errs, err = l.advanceTogether(ctx, facts)
	if err == nil || len(facts) < 2 || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrClosed) || ctx.Err() != nil {
		return errs, err
	}
	errs = make([]error, len(facts))
	stuck := map[string]error{} // by order, whose facts have the same in their way
	for i := range facts {
		order := facts[i].Pizza.Order
		if errs[i] = stuck[order]; errs[i] != nil {
			continue
		}
		one, err := l.advanceTogether(ctx, facts[i:i+1])
		switch {
		case errors.Is(err, ErrUnavailable), errors.Is(err, ErrClosed), ctx.Err() != nil:
			return nil, err
		case err != nil:
			errs[i] = err
			if errors.Is(err, ErrConflict) {
				stuck[order] = err
			}
		case one != nil:
			errs[i] = one[0]
		}
	}
	return errs, nil
}

func (l *Ledger) advanceTogether(ctx context.Context, facts []Fact) (errs []error, err error) {
	if len(facts) == 0 {
		return nil, nil
	}
	var results []error
	err = l.do(&op{
		ctx:     ctx,
		weight:  len(facts),
		patient: true,
		need: func(n *needs) {
			for i := range facts {
				n.pizza(facts[i].Pizza.Order, facts[i].Pizza.Number)
			}
		},
		apply: func(u *unit) (outcome, abort error) {
			results = nil
			for i := range facts {
				if err := u.advance(&facts[i]); err != nil {
					if results == nil {
						results = make([]error, len(facts))
					}
					results[i] = err
				}
			}
			return nil, nil
		},
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// advance applies one fact. If it returns an error it has changed nothing.
func (u *unit) advance(f *Fact) error {
	k := u.l.pipeline.Index(f.Step)
	if k < 0 {
		return fmt.Errorf("fact %s/%s: %w", f.Pizza, f.Step, ErrUnknownStep)
	}
	p := u.pizza(f.Pizza.Order, f.Pizza.Number)
	if p == nil || f.Replay > 0 {
		return fmt.Errorf("pizza %s: %w", event.ID(f.Pizza.String(), f.Step, f.Replay), ErrNotFound)
	}
	at := p.find(f.Step)
	last := k == len(u.l.pipeline.Steps())-1
	finishes := last && (p.Status != Complete || breakUnique)
	if p.Status == Complete && !breakUnique {
		if at >= 0 && p.Steps[at].Inferred {
			u.fill(p, at, f)
		}
		return nil
	}
	if err := u.infer(p, k, f); err != nil {
		return err
	}
	var body []byte
	switch {
	case at < 0:
		u.addStep(p, StepState{Name: f.Step, At: millis(f.At)}, f.Source, f.Body)
	case p.Steps[at].Inferred:
		u.fill(p, at, f)
	default: // has its own event; the pipeline may have ended elsewhere then
		body = f.Body
	}
	if finishes {
		u.complete(p, millis(f.At), body)
	}
	return nil
}

// find returns the place of a step among those that the pizza has, or -1.
func (p *pizza) find(step string) int {
	if breakUnique {
		return -1
	}
	return slices.IndexFunc(p.Steps, func(s StepState) bool { return s.Name == step })
}

// infer writes the steps before k that the pizza lacks: its event at step k
// proves that it has passed them.
func (u *unit) infer(p *pizza, k int, f *Fact) error {
	var body event.Pizza
	parsed := false
	for j, step := range u.l.pipeline.Steps()[:k] {
		if breakUnique || p.find(step) >= 0 {
			continue
		}
		if !parsed {
			var err error
			if body, err = event.Parse(f.Body, nil); err != nil {
				return fmt.Errorf("fact %s/%s: %w", f.Pizza, f.Step, err)
			}
			parsed = true
		}
		u.addStep(p, StepState{Name: step, At: millis(f.At), Inferred: true}, "",
			withoutStepsBehind(u.l.pipeline, body, j))
	}
	return nil
}

// addStep adds a step that the pizza did not have.
func (u *unit) addStep(p *pizza, s StepState, source string, body []byte) {
	kind := EventStage
	if s.Name == event.StepPizza {
		kind = EventDispatched
	}
	row := u.draw(p, FactRow{Kind: kind, Step: s.Name, Source: source, Body: body})
	s.Event = row.Event
	p.Steps = append(p.Steps, s)
	p.facts = append(p.facts, row)
	p.order.Progress[countOf(p.order.Progress, s.Name)].Count++
}

// fill gives an inferred step its own event.
func (u *unit) fill(p *pizza, at int, f *Fact) {
	p.dirty = true
	p.order.dirty, p.order.visible = true, true
	s := &p.Steps[at]
	s.At, s.Inferred = millis(f.At), false
	row := p.facts[at]
	if row == nil {
		row = &FactRow{FactKey: FactKey{Order: p.Order, Event: s.Event}}
		p.facts[at] = row
		u.filledFacts = append(u.filledFacts, row)
	}
	row.Source, row.Body = f.Source, f.Body
}

// complete ends a pizza. body is nil if it is that of the last step.
func (u *unit) complete(p *pizza, at int64, body []byte) {
	o := p.order
	row := u.draw(p, FactRow{Kind: EventComplete, Body: body})
	// Complete is past every step, also past those that left the pipeline.
	for i := range o.Progress {
		if !slices.ContainsFunc(p.Steps, func(s StepState) bool { return s.Name == o.Progress[i].Step }) {
			o.Progress[i].Count++
		}
	}
	o.Completed++
	switch {
	case p.Status == DeadLettered:
		o.DeadLettered--
	case p.Number > o.Dispatched:
		o.DoneAhead++
	}
	p.BodyEvent = row.Event
	if body == nil {
		last := u.l.pipeline.Steps()[len(u.l.pipeline.Steps())-1]
		i := slices.IndexFunc(p.Steps, func(s StepState) bool { return s.Name == last })
		p.BodyEvent = p.Steps[i].Event
	}
	p.Status, p.CompletedAt, p.Letter = Complete, at, ""
	u.meta[metaLastComplete] = event.PizzaID{Order: o.ID, Number: p.Number}.String()
}
