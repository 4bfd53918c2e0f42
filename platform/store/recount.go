package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// Recount compares every counter with the rows that justify it and every stream
// with the pizzas it tells of, and returns what differs, nil if nothing does.
// It reads the whole ledger on one snapshot, writes nothing, and needs no Start.
func (l *Ledger) Recount(ctx context.Context) (differences []string, err error) {
	err = l.driver.View(ctx, func(tx ReadTx) error {
		r := recount{l: l, tx: tx, sums: map[string]int64{}}
		err := eachOrder(tx, func(o *OrderRow) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := r.order(o); err != nil {
				return fmt.Errorf("recount order %s: %w", o.ID, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := r.totals(); err != nil {
			return err
		}
		differences = r.differences
		return nil
	})
	return differences, err
}

// eachOrder calls fn with every order, newest first.
func eachOrder(tx ReadTx, fn func(*OrderRow) error) error {
	before := ""
	for {
		rows, err := tx.OrdersBefore(before, 1000)
		if err != nil {
			return fmt.Errorf("load orders: %w", err)
		}
		if len(rows) == 0 {
			return nil
		}
		for i := range rows {
			if err := fn(&rows[i]); err != nil {
				return err
			}
		}
		before = rows[len(rows)-1].ID
	}
}

type recount struct {
	l           *Ledger
	tx          ReadTx
	sums        map[string]int64 // of the totals, from the orders
	differences []string
}

func (r *recount) differ(format string, args ...any) {
	r.differences = append(r.differences, fmt.Sprintf(format, args...))
}

// count compares one counter.
func (r *recount) count(of, counter string, has, rows int) {
	if has != rows {
		r.differ("%s: %s is %d, its rows say %d", of, counter, has, rows)
	}
}

// stream is an order's stream, reduced to what its pizzas must agree with.
type stream struct {
	events []told
	ends   map[int]ends // by pizza
}

type told struct {
	number int
	step   string
}

type ends struct{ completions, deaths int }

func (r *recount) order(o *OrderRow) error {
	name := "order " + o.ID
	told, err := r.stream(o)
	if err != nil {
		return err
	}
	r.count(name, "stream number", int(o.LastEvent), len(told.events))
	got := OrderRow{Progress: withPipeline(r.l.pipeline, o.Progress, o.Completed)}
	want := slices.Clone(got.Progress)
	for i := range got.Progress {
		got.Progress[i].Count, got.Progress[i].Dead = 0, 0
	}
	events := 0
	for after := 0; ; {
		rows, err := r.tx.PizzasAfter(o.Seq, after, 1000, "")
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			break
		}
		for i := range rows {
			events += r.pizza(o, &rows[i], told, &got)
		}
		after = rows[len(rows)-1].Number
	}
	r.count(name, "stream", len(told.events), events)
	r.count(name, "completed", o.Completed, got.Completed)
	r.count(name, "dead-lettered", o.DeadLettered, got.DeadLettered)
	r.count(name, "done ahead", o.DoneAhead, got.DoneAhead)
	if o.CompletedAt != got.CompletedAt {
		r.differ("%s: completed at %d, its pizzas say %d", name, o.CompletedAt, got.CompletedAt)
	}
	for i, c := range want {
		r.sums[totalUnfinished+c.Step] += int64(c.Count - o.Completed)
		r.count(name, "past "+c.Step, c.Count, got.Progress[i].Count)
		r.count(name, "dead behind "+c.Step, c.Dead, got.Progress[i].Dead)
	}
	r.sums[totalOrdered] += int64(o.Count)
	r.sums[totalCompleted] += int64(o.Completed)
	r.sums[totalDeadLettered] += int64(o.DeadLettered)
	r.sums[totalUndispatched] += int64(o.Undispatched())
	return nil
}

// stream returns the events of an order up to the first gap.
func (r *recount) stream(o *OrderRow) (stream, error) {
	s := stream{ends: map[int]ends{}}
	for {
		facts, err := r.tx.FactsAfter(o.Seq, int64(len(s.events)), 1000)
		if err != nil || len(facts) == 0 {
			return s, err
		}
		for _, f := range facts {
			if f.Event != int64(len(s.events))+1 {
				r.differ("order %s: event %d is missing from its stream", o.ID, len(s.events)+1)
				return s, nil
			}
			s.events = append(s.events, told{f.Number, f.Step})
			e := s.ends[f.Number]
			switch f.Kind {
			case EventComplete:
				e.completions++
			case EventDeadLetter:
				e.deaths++
			}
			s.ends[f.Number] = e
		}
	}
}

// pizza adds a pizza to the counters of its order and returns how many events it has.
func (r *recount) pizza(o *OrderRow, p *PizzaRow, s stream, got *OrderRow) (events int) {
	name := fmt.Sprintf("pizza %s-%d", o.ID, p.Number)
	if p.Number < 1 || p.Number > o.Count {
		r.differ("%s: nobody ordered it", name)
	}
	for i, step := range p.Steps {
		if slices.ContainsFunc(p.Steps[:i], func(t StepState) bool { return t.Name == step.Name }) {
			r.differ("%s: step %s is there twice", name, step.Name)
		}
		if step.Event > int64(len(s.events)) || s.events[step.Event-1] != (told{p.Number, step.Name}) {
			r.differ("%s: step %s is not event %d", name, step.Name, step.Event)
		}
	}
	ends := s.ends[p.Number]
	complete := 0
	switch p.Status {
	case Complete:
		complete = 1
		got.Completed++
		got.CompletedAt = max(got.CompletedAt, p.CompletedAt)
	case DeadLettered:
		got.DeadLettered++
		if ends.deaths == 0 {
			r.differ("%s: dead-lettered, and no event tells it", name)
		}
	}
	r.count(name, "completions", complete, ends.completions)
	if p.Status != Cooking && p.Number > o.Dispatched {
		got.DoneAhead++
	}
	for i, c := range got.Progress {
		if p.Status == Complete || slices.ContainsFunc(p.Steps, func(s StepState) bool { return s.Name == c.Step }) {
			got.Progress[i].Count++
		}
	}
	if i := countOf(got.Progress, (&pizza{PizzaRow: *p}).deadAt()); i >= 0 {
		got.Progress[i].Dead++
	}
	return len(p.Steps) + ends.completions + ends.deaths
}

func (r *recount) totals() error {
	stored, err := r.tx.Totals()
	if err != nil {
		return fmt.Errorf("load totals: %w", err)
	}
	names := maps.Clone(stored)
	maps.Copy(names, r.sums)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if stored[name] != r.sums[name] {
			r.differ("total %s is %d, the orders say %d", name, stored[name], r.sums[name])
		}
	}
	return nil
}
