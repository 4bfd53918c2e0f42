package store

import (
	"context"
	"fmt"

	"github.com/pizzamill/pizzamill/platform/event"
)

// Events returns up to limit events of an order's stream numbered above after.
func (l *Ledger) Events(ctx context.Context, order string, after int64, limit int) (events []StreamEvent, err error) {
	err = l.driver.View(ctx, func(tx ReadTx) error {
		o, err := orderRow(tx, order)
		if err != nil {
			return err
		}
		facts, err := tx.FactsAfter(o.Seq, max(after, 0), max(limit, 0))
		if err != nil {
			return fmt.Errorf("load events of order %s: %w", order, err)
		}
		events, err = l.streamEvents(tx, order, facts)
		return err
	})
	return events, err
}

// streamEvents joins events with their pizzas, which have the times.
func (l *Ledger) streamEvents(tx ReadTx, order string, facts []FactRow) ([]StreamEvent, error) {
	var keys []PizzaKey
	seen := map[int]bool{}
	complete := map[int]bool{}
	for _, f := range facts {
		if !seen[f.Number] {
			seen[f.Number] = true
			keys = append(keys, PizzaKey{Order: f.Order, Number: f.Number})
		}
		complete[f.Number] = complete[f.Number] || f.Kind == EventComplete
	}
	rows, err := tx.Pizzas(keys)
	if err != nil {
		return nil, fmt.Errorf("load pizzas of order %s: %w", order, err)
	}
	var finished []PizzaRow
	shown := map[int64]int64{} // by stream number
	for i := range rows {
		for _, s := range arrange(l.pipeline, rows[i].Steps) {
			shown[s.Event] = s.shown
		}
		if complete[rows[i].Number] {
			finished = append(finished, rows[i])
		}
	}
	views, err := l.pizzaViews(tx, order, finished)
	if err != nil {
		return nil, err
	}
	done := make(map[int]*Pizza, len(views))
	for i := range views {
		done[views[i].ID.Number] = &views[i]
	}
	events := make([]StreamEvent, len(facts))
	for i := range facts {
		events[i] = streamEvent(order, &facts[i], shown, done)
	}
	return events, nil
}

func streamEvent(order string, f *FactRow, shown map[int64]int64, done map[int]*Pizza) StreamEvent {
	e := StreamEvent{
		Seq:   f.Event,
		Kind:  f.Kind,
		Pizza: event.PizzaID{Order: order, Number: f.Number},
		At:    fromMillis(shown[f.Event]),
	}
	switch f.Kind {
	case EventStage:
		e.Step = f.Step
		if body, err := event.Parse(f.Body, nil); err == nil {
			e.Value, _ = body.Field(f.Step)
		}
	case EventDeadLetter:
		e.At, e.Module, e.Error = fromMillis(f.At), f.Source, string(f.Body)
	case EventComplete:
		e.Done = done[f.Number]
		if e.Done != nil {
			e.At = e.Done.CompletedAt
		}
	}
	return e
}
