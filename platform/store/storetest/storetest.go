// Package storetest is the conformance suite of the ledger: what holds for it on
// every database. A driver's own test only has to call Run.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

// Open opens a test's database. Called again, also while it is open, it opens
// the same one, as another process would: see Shared.
type Open func(t *testing.T) store.Driver

// Run runs the suite. newDatabase returns how to open a database that is empty.
func Run(t *testing.T, newDatabase func(t *testing.T) Open) {
	for _, group := range [][]test{
		orderTests, factTests, pipelineTests, letterTests, relayTests, busTests, processTests, commitTests, readTests, modelTests,
	} {
		for _, test := range group {
			t.Run(test.name, func(t *testing.T) {
				open := newDatabase(t)
				clock := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
				f := &fixture{t: t, name: "a", open: func() store.Driver { return open(t) }, clock: clock}
				t.Cleanup(f.close)
				f.start(store.Options{}, "sauce", "cheese", "meat")
				test.run(f)
			})
		}
	}
}

type test struct {
	name string
	run  func(*fixture)
}

// reporter is a *testing.T, or that of one try of a property.
type reporter interface {
	Helper()
	Log(args ...any)
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// fixture is a ledger of a test, with what looks into it.
type fixture struct {
	t     reporter
	name  string // of the process
	open  func() store.Driver
	spy   *spy
	l     *store.Ledger
	p     event.Pipeline
	clock time.Time // of order IDs; only the ledger's writer reads it while a call runs
	o     store.Options
	peers []*fixture
}

// start opens the ledger on a pipeline, whose bus has its stages as prefix.
func (f *fixture) start(o store.Options, stages ...string) {
	f.t.Helper()
	f.openLedger(o, stages...)
	f.must(f.join(f.bus()))
}

// peer is another process with the ledger open. It has not started on a bus.
func (f *fixture) peer(name string, o store.Options, stages ...string) *fixture {
	f.t.Helper()
	p := &fixture{t: f.t, name: name, open: f.open, clock: f.clock}
	p.openLedger(o, stages...)
	f.peers = append(f.peers, p)
	return p
}

// join starts on a bus.
func (f *fixture) join(bus string) error { return f.l.Start(f.ctx(), f.process(bus)) }

func (f *fixture) openLedger(o store.Options, stages ...string) {
	f.t.Helper()
	var err error
	f.p, err = event.NewPipeline(stages...)
	f.must(err)
	f.spy = &spy{Driver: f.open()}
	o.Pipeline = f.p
	o.Log = slog.New(slog.DiscardHandler)
	if o.Now == nil {
		o.Now = func() time.Time { return f.clock }
	}
	f.o = o
	f.l = store.New(f.spy, o)
}

// bus is the identity of the bus that the fixture is on.
func (f *fixture) bus() string { return "kafka/" + strings.Join(f.p.Stages(), "+") + "/1" }

// process is this process on a bus, whose identity begins with its driver and
// its prefix. It holds no lock.
func (f *fixture) process(bus string) store.Process {
	parts := strings.Split(bus, "/")
	return store.Process{ID: f.name, Name: "process " + f.name, Bus: bus, Driver: parts[0], Prefix: parts[1]}
}

func (f *fixture) close() {
	for _, p := range f.peers {
		p.close()
	}
	f.peers = nil
	if f.l == nil {
		return
	}
	f.must(f.l.Close())
	f.must(f.spy.Close())
	f.l = nil
}

// restart closes the ledger and opens it again.
func (f *fixture) restart(o store.Options, stages ...string) {
	f.t.Helper()
	f.close()
	f.start(o, stages...)
}

func (f *fixture) ctx() context.Context { return context.Background() }

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) equal(what string, got, want any) {
	f.t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		f.t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

func (f *fixture) is(what string, err, target error) {
	f.t.Helper()
	if !errors.Is(err, target) {
		f.t.Fatalf("%s: error is %v, want %v", what, err, target)
	}
}

// sound checks that all counters agree with the rows.
func (f *fixture) sound() {
	f.t.Helper()
	differences, err := f.l.Recount(f.ctx())
	f.must(err)
	if differences != nil {
		f.t.Fatalf("recount: %q", differences)
	}
}

func (f *fixture) place(count int) string {
	f.t.Helper()
	o, _, err := f.l.PlaceOrder(f.ctx(), count, "")
	f.must(err)
	return o.ID
}

func pizza(order string, number int) event.PizzaID {
	return event.PizzaID{Order: order, Number: number}
}

// ingredient is what a stage puts on a pizza.
func ingredient(id event.PizzaID, stage string) string {
	return fmt.Sprintf("%s %d", stage, id.Number)
}

// body is that of a pizza's event at a step.
func (f *fixture) body(id event.PizzaID, step string) []byte {
	p := event.New(id, 0)
	for _, stage := range f.p.Before(step) {
		p = p.With(stage, ingredient(id, stage))
	}
	return p.Body()
}

// at is a time, in milliseconds after the test's clock began.
func at(ms int) time.Time {
	return time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC).Add(time.Duration(ms) * time.Millisecond)
}

func (f *fixture) fact(id event.PizzaID, step string, ms int) store.Fact {
	return store.Fact{Pizza: id, Step: step, At: at(ms), Source: step, Body: f.body(id, step)}
}

// advance writes facts that must all be taken.
func (f *fixture) advance(facts ...store.Fact) {
	f.t.Helper()
	errs, err := f.l.Advance(f.ctx(), facts)
	f.must(err)
	if errs != nil {
		f.t.Fatalf("advance: %v", errs)
	}
}

// bake writes all facts of a pizza.
func (f *fixture) bake(id event.PizzaID) {
	f.t.Helper()
	var facts []store.Fact
	for i, step := range f.p.Steps() {
		facts = append(facts, f.fact(id, step, i))
	}
	f.advance(facts...)
}

func (f *fixture) order(id string) store.Order {
	f.t.Helper()
	o, err := f.l.Order(f.ctx(), id)
	f.must(err)
	return o
}

func (f *fixture) pizza(id event.PizzaID) store.Pizza {
	f.t.Helper()
	p, err := f.l.Pizza(f.ctx(), id)
	f.must(err)
	return p
}

func (f *fixture) totals() store.Totals {
	f.t.Helper()
	t, err := f.l.Totals(f.ctx())
	f.must(err)
	return t
}

// stream is an order's whole stream in short: "1 dispatched 1", "2 stage 1 sauce", and so on.
func (f *fixture) stream(order string) []string {
	f.t.Helper()
	events, err := f.l.Events(f.ctx(), order, 0, 1_000_000)
	f.must(err)
	var out []string
	for _, e := range events {
		s := fmt.Sprintf("%d %s %d", e.Seq, e.Kind, e.Pizza.Number)
		if e.Step != "" {
			s += " " + e.Step
		}
		out = append(out, s)
	}
	return out
}

// steps is a pizza in short: its steps with the shown milliseconds, and a ?
// behind the inferred ones.
func (f *fixture) steps(id event.PizzaID) []string {
	f.t.Helper()
	var out []string
	for _, s := range f.pizza(id).Steps {
		text := fmt.Sprintf("%s %d", s.Name, s.At.Sub(at(0)).Milliseconds())
		if s.Inferred {
			text += "?"
		}
		out = append(out, text)
	}
	return out
}

func (f *fixture) progress(order string) []int {
	f.t.Helper()
	var out []int
	for _, c := range f.order(order).Progress {
		out = append(out, c.Count)
	}
	return out
}

func (f *fixture) numbers(order string, after, limit int, filter store.PizzaFilter) []int {
	f.t.Helper()
	pizzas, err := f.l.Pizzas(f.ctx(), order, after, limit, filter)
	f.must(err)
	var out []int
	for _, p := range pizzas {
		out = append(out, p.ID.Number)
	}
	if !slices.IsSorted(out) {
		f.t.Fatalf("pizzas are not ascending: %v", out)
	}
	return out
}

// fired reports whether a watcher has a signal, and takes it.
func fired(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
