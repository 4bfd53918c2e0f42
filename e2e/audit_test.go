package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// pipeline is the default one, as outside knows it.
var pipeline = []string{"sauce", "cheese", "meat", "veggies"}

// Kinds of findings.
const (
	lost      = "lost"      // promised and not there, or not finished
	duplicate = "duplicate" // there more than once
	unordered = "unordered" // there and nobody asked for it
	disorder  = "disorder"  // there, and out of order or not adding up
)

// audit holds a server to what its loader was told. It finds nothing if every
// order that was answered is complete, with exactly its pizzas, each with
// exactly one of every stage, in order; and if there is nothing else.
type audit struct {
	s        *server
	b        *book
	stall    time.Duration // how long nothing may move before the rest counts as lost
	mu       sync.Mutex
	findings []string
}

func newAudit(s *server, b *book) *audit { return &audit{s: s, b: b, stall: 20 * time.Second} }

func (a *audit) add(kind, format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.findings = append(a.findings, kind+": "+fmt.Sprintf(format, args...))
}

// count returns how many findings are of a kind.
func (a *audit) count(kind string) int {
	n := 0
	for _, f := range a.findings {
		if strings.HasPrefix(f, kind+": ") {
			n++
		}
	}
	return n
}

// summary shows the first findings.
func (a *audit) summary() string {
	return fmt.Sprintf("%d findings:\n  %s", len(a.findings), strings.Join(a.findings[:min(20, len(a.findings))], "\n  "))
}

// run waits until the server has worked everything off, or does not get
// further, and then looks at everything.
func (a *audit) run(ctx context.Context) error {
	if err := a.drain(ctx); err != nil {
		return err
	}
	orders, err := a.s.allOrders(ctx)
	if err != nil {
		return err
	}
	a.compare(orders)
	work := make(chan orderDoc)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for o := range work {
				if err := a.order(ctx, o.ID); err != nil {
					a.add(lost, "order %s cannot be read: %v", o.ID, err)
				}
			}
		})
	}
	for _, o := range orders {
		work <- o
	}
	close(work)
	workers.Wait()
	return a.totals(ctx, orders)
}

// drain waits until nothing is in flight, or nothing moves any more.
func (a *audit) drain(ctx context.Context) error {
	var last [3]float64
	moved := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		m, err := a.s.scrape(ctx)
		if err != nil {
			return fmt.Errorf("scrape while draining: %w", err)
		}
		if bad := m.unbalanced(); bad != "" {
			a.add(disorder, "metrics while draining: %s", bad)
		}
		if m.pizzas("in_flight") <= 0 {
			return nil
		}
		now := [3]float64{float64(m.pizzas("completed")), float64(m.pizzas("dead_lettered")), m["pizzamill_undispatched_pizzas"]}
		if now != last {
			last, moved = now, time.Now()
		}
		if time.Since(moved) > a.stall {
			a.add(lost, "nothing moves any more with %d pizzas in flight", m.pizzas("in_flight"))
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// compare holds the list of orders against the book.
func (a *audit) compare(orders []orderDoc) {
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	maybe := slices.Clone(a.b.maybe)
	listed := map[string]bool{}
	for _, o := range orders {
		if listed[o.ID] {
			a.add(duplicate, "order %s is listed twice", o.ID)
		}
		listed[o.ID] = true
		if count, ok := a.b.answered[o.ID]; ok {
			if count != o.Count {
				a.add(disorder, "order %s was for %d pizzas and is listed with %d", o.ID, count, o.Count)
			}
			continue
		}
		i := slices.Index(maybe, o.Count)
		if i < 0 {
			a.add(unordered, "order %s of %d", o.ID, o.Count)
			continue
		}
		maybe = slices.Delete(maybe, i, i+1)
	}
	for id, count := range a.b.answered {
		if !listed[id] {
			a.add(lost, "order %s of %d was answered 202 and is not listed", id, count)
		}
	}
	if n := len(a.b.open); n > 0 {
		a.add(disorder, "%d requests with a key are without an answer: settle the book first", n)
	}
}

// order looks at one order, its stream and its pizzas' journals.
func (a *audit) order(ctx context.Context, id string) error {
	o, err := a.s.wholeOrder(ctx, id)
	if err != nil {
		return err
	}
	if o.Status != "complete" || o.CompletedAt == nil {
		kind := lost
		if o.Completed > o.Count {
			kind = duplicate
		}
		a.add(kind, "order %s is %s with %d of %d pizzas completed, %d dead-lettered", id, o.Status, o.Completed, o.Count, o.DeadLettered)
	}
	for _, p := range o.Progress {
		switch {
		case p.Count > o.Count:
			a.add(duplicate, "order %s: %d of %d pizzas past %s", id, p.Count, o.Count, p.Step)
		case p.Count < o.Count && o.Status == "complete":
			a.add(disorder, "order %s is complete with %d of %d pizzas past %s", id, p.Count, o.Count, p.Step)
		}
	}
	if len(o.Pizzas) != o.Count {
		a.add(lost, "order %s shows %d of %d pizzas", id, len(o.Pizzas), o.Count)
	}
	for i, p := range o.Pizzas {
		a.pizza(ctx, id, i+1, p)
	}
	return a.stream(ctx, o)
}

// pizza looks at the pizza that must stand at a place of an order.
func (a *audit) pizza(ctx context.Context, order string, number int, p map[string]any) {
	id := fmt.Sprintf("%s-%d", order, number)
	if p["id"] != id || p["order_id"] != order || p["number"] != float64(number) {
		a.add(disorder, "in the place of %s stands %v", id, p["id"])
		return
	}
	if p["status"] != "complete" {
		a.add(lost, "pizza %s is %v, last stage %v", id, p["status"], p["stage"])
		return
	}
	for _, stage := range pipeline {
		if text, _ := p[stage].(string); text == "" {
			a.add(lost, "pizza %s has no %s", id, stage)
		}
	}
	var j journalDoc
	if err := getJSON(ctx, a.s.main, "/api/pizzas/"+id+"/journal", &j); err != nil {
		a.add(lost, "journal of %s: %v", id, err)
		return
	}
	a.journal(id, p, j)
}

// journal wants one event of every topic, in pipeline order, in time.
func (a *audit) journal(id string, p map[string]any, j journalDoc) {
	steps := append([]string{"pizza"}, pipeline...)
	last := ""
	for i, e := range j.Events {
		if i >= len(steps) {
			a.add(duplicate, "journal of %s has %d events", id, len(j.Events))
			return
		}
		if want := id + "/" + steps[i]; e.ID != want {
			kind := disorder
			if i > 0 && e.ID == j.Events[i-1].ID {
				kind = duplicate
			}
			a.add(kind, "journal of %s has %s in the place of %s", id, e.ID, want)
			return
		}
		if e.At < last {
			a.add(disorder, "journal of %s goes back at %s: from %s to %s", id, e.Topic, last, e.At)
		}
		if i > 0 && e.Data[steps[i]] != p[steps[i]] {
			a.add(disorder, "pizza %s has %v %v, its journal %v", id, steps[i], p[steps[i]], e.Data[steps[i]])
		}
		last = e.At
	}
	if len(j.Events) < len(steps) {
		a.add(lost, "journal of %s has %d of %d events", id, len(j.Events), len(steps))
	}
}

// stream reads an order's events from the first and wants, for each pizza,
// each step once and in order, under numbers without a gap.
func (a *audit) stream(ctx context.Context, o orderDoc) error {
	kinds := append(append([]string{"dispatched"}, pipeline...), "complete")
	next := map[string]int{} // pizza → index in kinds
	events := int64(0)
	err := a.s.readAll(ctx, o, func(e streamEvent, pizza, step string) {
		if events++; e.id != events {
			a.add(disorder, "stream of %s: event %d has number %d", o.ID, events, e.id)
			events = e.id
		}
		at := next[pizza]
		switch {
		case at < len(kinds) && kinds[at] == step:
			next[pizza]++
		case slices.Contains(kinds[:at], step):
			a.add(duplicate, "stream of %s: %s again for %s", o.ID, step, pizza)
		default:
			a.add(disorder, "stream of %s: %s for %s after %d events", o.ID, step, pizza, at)
		}
	})
	if err != nil && !errors.Is(err, errStalled) {
		return err
	}
	if want := int64(len(kinds) * o.Count); events < want {
		a.add(lost, "stream of %s has %d of %d events", o.ID, events, want)
	} else if events > want {
		a.add(duplicate, "stream of %s has %d events instead of %d", o.ID, events, want)
	}
	return nil
}

// totals holds the gauges against the orders and the book.
func (a *audit) totals(ctx context.Context, orders []orderDoc) error {
	m, err := a.s.scrape(ctx)
	if err != nil {
		return err
	}
	if bad := m.unbalanced(); bad != "" {
		a.add(disorder, "metrics: %s", bad)
	}
	listed, completed := 0, 0
	for _, o := range orders {
		listed += o.Count
		completed += o.Completed
	}
	if m.pizzas("completed") != completed {
		a.add(disorder, "metrics have %d pizzas completed, the orders %d", m.pizzas("completed"), completed)
	}
	if n := m.sum("pizzamill_undispatched_pizzas"); n != 0 {
		a.add(disorder, "metrics have %v pizzas undispatched after everything was drained", n)
	}
	if m.pizzas("ordered") != listed {
		a.add(disorder, "metrics have %d pizzas ordered, the orders %d", m.pizzas("ordered"), listed)
	}
	if promised := a.b.pizzas(); len(a.b.maybe) == 0 && promised != listed {
		a.add(disorder, "%d pizzas were promised and %d ordered", promised, listed)
	}
	return nil
}
