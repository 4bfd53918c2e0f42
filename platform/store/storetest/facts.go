package storetest

import (
	"errors"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

var factTests = []test{
	{"Facts/OneByOne", factsInOrder},
	{"Facts/AgainChangeNothing", factsAgain},
	{"Facts/LaterImpliesEarlier", factsInferred},
	{"Facts/OwnEventFillsIn", factsFilledIn},
	{"Facts/TimesNeverFall", timesNeverFall},
	{"Facts/CompleteIsFinal", completeIsFinal},
	{"Facts/OfAnOrder", orderCompletes},
	{"Facts/Refused", factsRefused},
	{"Facts/OneRowPerPizzaAndCommit", factsCoalesce},
	{"Facts/SourceAndForeignFields", foreignFields},
}

func factsInOrder(f *fixture) {
	id := pizza(f.place(2), 2)
	f.equal("without a fact", f.pizza(id), store.Pizza{ID: id, Status: store.Cooking})
	f.advance(f.fact(id, "pizza", 1))
	f.advance(f.fact(id, "sauce", 2))
	f.equal("half baked", f.pizza(id), store.Pizza{
		ID: id, Status: store.Cooking, Body: f.body(id, "sauce"),
		Steps: []store.Step{{Name: "pizza", At: at(1)}, {Name: "sauce", At: at(2)}},
	})
	f.equal("stage", f.pizza(id).Stage(), "sauce")
	f.equal("progress", f.progress(id.Order), []int{1, 1, 0, 0})
	f.advance(f.fact(id, "cheese", 3), f.fact(id, "meat", 4))
	done := f.pizza(id)
	f.equal("complete", done, store.Pizza{
		ID: id, Status: store.Complete, Body: f.body(id, "meat"), CompletedAt: at(4),
		Steps: []store.Step{{Name: "pizza", At: at(1)}, {Name: "sauce", At: at(2)}, {Name: "cheese", At: at(3)}, {Name: "meat", At: at(4)}},
	})
	f.equal("progress", f.progress(id.Order), []int{1, 1, 1, 1})
	events, err := f.l.Events(f.ctx(), id.Order, 0, 100)
	f.must(err)
	f.equal("events", events, []store.StreamEvent{
		{Seq: 1, Kind: store.EventDispatched, Pizza: id, At: at(1)},
		{Seq: 2, Kind: store.EventStage, Pizza: id, At: at(2), Step: "sauce", Value: "sauce 2"},
		{Seq: 3, Kind: store.EventStage, Pizza: id, At: at(3), Step: "cheese", Value: "cheese 2"},
		{Seq: 4, Kind: store.EventStage, Pizza: id, At: at(4), Step: "meat", Value: "meat 2"},
		{Seq: 5, Kind: store.EventComplete, Pizza: id, At: at(4), Done: &done},
	})
	journal, err := f.l.Journal(f.ctx(), id)
	f.must(err)
	f.equal("journal", journal[2], store.JournalEntry{
		ID: id.String() + "/cheese", Topic: "pizza-with-cheese", At: at(3), Source: "cheese", Body: f.body(id, "cheese"),
	})
	f.equal("entries", len(journal), 4)
	f.sound()
}

func factsAgain(f *fixture) {
	id := pizza(f.place(1), 1)
	f.bake(id)
	p, o, stream, totals := f.pizza(id), f.order(id.Order), f.stream(id.Order), f.totals()
	for range 2 {
		f.bake(id)
		late := f.fact(id, "sauce", 999)
		late.Body, late.Source = f.body(id, "meat"), "someone"
		f.advance(late)
		f.equal("pizza", f.pizza(id), p)
		f.equal("order", f.order(id.Order), o)
		f.equal("stream", f.stream(id.Order), stream)
		f.equal("totals", f.totals(), totals)
		f.restart(store.Options{}, f.p.Stages()...)
	}
	f.sound()
}

func factsInferred(f *fixture) {
	id := pizza(f.place(1), 1)
	f.advance(f.fact(id, "cheese", 7))
	f.equal("steps", f.steps(id), []string{"pizza 7?", "sauce 7?", "cheese 7"})
	f.equal("stream", f.stream(id.Order), []string{"1 dispatched 1", "2 stage 1 sauce", "3 stage 1 cheese"})
	journal, err := f.l.Journal(f.ctx(), id)
	f.must(err)
	for i, step := range []string{"pizza", "sauce", "cheese"} {
		source := ""
		if step == "cheese" {
			source = step
		}
		f.equal("entry of "+step, journal[i], store.JournalEntry{
			ID: event.ID(id.String(), step, 0), Topic: event.Topic(step), At: at(7), Source: source, Inferred: step != "cheese", Body: f.body(id, step),
		})
	}
	f.equal("progress", f.progress(id.Order), []int{1, 1, 1, 0})
	f.sound()
}

func factsFilledIn(f *fixture) {
	id := pizza(f.place(1), 1)
	f.advance(f.fact(id, "meat", 9)) // completes it
	f.equal("steps", f.steps(id), []string{"pizza 9?", "sauce 9?", "cheese 9?", "meat 9"})
	stream := f.stream(id.Order)
	f.spy.take()
	f.advance(f.fact(id, "sauce", 2))
	f.equal("written", f.spy.take(), []sizes{{Orders: 1, Pizzas: 1, FilledFacts: 1}})
	f.equal("steps", f.steps(id), []string{"pizza 2?", "sauce 2", "cheese 9?", "meat 9"})
	foreign := f.fact(id, "cheese", 3)
	foreign.Source = "" // as of a stage that sends no headers
	f.advance(f.fact(id, "pizza", 1), foreign)
	f.equal("steps", f.steps(id), []string{"pizza 1", "sauce 2", "cheese 3", "meat 9"})
	f.equal("stream", f.stream(id.Order), stream)
	journal, err := f.l.Journal(f.ctx(), id)
	f.must(err)
	f.equal("source", journal[1].Source, "sauce")
	f.equal("an event without a source", journal[2].Source, "")
	f.equal("inferred", journal[2].Inferred, false)
	f.equal("completed at", f.pizza(id).CompletedAt, at(9))
	f.sound()
}

func timesNeverFall(f *fixture) {
	want := []string{"pizza 5", "sauce 5", "cheese 8", "meat 8"}
	facts := func(id event.PizzaID) []store.Fact {
		return []store.Fact{f.fact(id, "pizza", 5), f.fact(id, "sauce", 3), f.fact(id, "cheese", 8), f.fact(id, "meat", 6)}
	}
	for _, order := range [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}, {1, 3, 0, 2}} {
		id := pizza(f.place(1), 1)
		for _, i := range order {
			f.advance(facts(id)[i])
		}
		f.equal("steps", f.steps(id), want)
		f.equal("completed at", f.pizza(id).CompletedAt, at(8))
		f.equal("order completed at", f.order(id.Order).CompletedAt, at(8))
		events, err := f.l.Events(f.ctx(), id.Order, 0, 100)
		f.must(err)
		f.equal("time of completion", events[len(events)-1].At.Sub(at(0)).Milliseconds(), int64(8))
	}
	f.sound()
}

func completeIsFinal(f *fixture) {
	id := pizza(f.place(1), 1)
	f.advance(f.fact(id, "meat", 9))
	other := f.fact(id, "meat", 4) // a copy that differs
	other.Body = event.New(id, 0).With("sauce", "other").With("cheese", "other").With("meat", "other").Body()
	f.advance(other)
	f.equal("body", f.pizza(id).Body, f.body(id, "meat"))
	f.equal("order", f.order(id.Order).Completed, 1)
	f.equal("stream", len(f.stream(id.Order)), 5)
	f.sound()
}

func orderCompletes(f *fixture) {
	order := f.place(3)
	f.bake(pizza(order, 3))
	f.bake(pizza(order, 1))
	o := f.order(order)
	f.equal("status", o.Status(), store.Cooking)
	f.equal("completed at", o.CompletedAt.IsZero(), true)
	last, ok, err := f.l.LastComplete(f.ctx())
	f.must(err)
	f.equal("last complete", last, f.pizza(pizza(order, 1)))
	f.equal("there is one", ok, true)
	f.bake(pizza(order, 2))
	o = f.order(order)
	f.equal("status", o.Status(), store.Complete)
	f.equal("completed at", o.CompletedAt, at(3))
	f.equal("totals", f.totals(), store.Totals{Ordered: 3, Completed: 3, Passed: o.Progress})
	f.sound()
}

func factsRefused(f *fixture) {
	id := pizza(f.place(2), 1)
	replay := f.fact(id, "pizza", 1)
	replay.Replay = 1
	unreadable := f.fact(id, "cheese", 1)
	unreadable.Body = []byte("{")
	errs, err := f.l.Advance(f.ctx(), []store.Fact{
		f.fact(pizza("nobody", 1), "pizza", 1),
		f.fact(pizza(id.Order, 3), "pizza", 1),
		f.fact(pizza(id.Order, 0), "pizza", 1),
		replay,
		{Pizza: id, Step: "pineapple", At: at(1), Body: f.body(id, "pizza")},
		unreadable,
		f.fact(id, "pizza", 1),
	})
	f.must(err)
	for i := range 4 {
		f.is("nobody ordered it", errs[i], store.ErrNotFound)
	}
	f.is("step", errs[4], store.ErrUnknownStep)
	if errors.Is(errs[4], store.ErrNotFound) {
		f.t.Fatal("an unknown step is no unknown pizza")
	}
	var broken *event.ContractError
	if !errors.As(errs[5], &broken) {
		f.t.Fatalf("unreadable body: %v", errs[5])
	}
	f.must(errs[6])
	f.equal("steps", f.steps(id), []string{"pizza 1"})
	_, err = f.l.Pizza(f.ctx(), pizza(id.Order, 3))
	f.is("pizza", err, store.ErrNotFound)
	_, err = f.l.Journal(f.ctx(), pizza("nobody", 1))
	f.is("journal", err, store.ErrNotFound)
	f.sound()
}

func factsCoalesce(f *fixture) {
	order := f.place(100)
	var facts []store.Fact
	for _, step := range f.p.Steps() {
		for n := 1; n <= 100; n++ {
			facts = append(facts, f.fact(pizza(order, n), step, n))
		}
	}
	f.spy.take()
	f.advance(append(facts, facts...)...)
	f.equal("written", f.spy.take(), []sizes{{Orders: 1, Pizzas: 100, NewFacts: 500}})
	f.spy.take()
	f.advance(facts...)
	f.equal("written by facts that are known", f.spy.take(), []sizes(nil))
	f.sound()
}

func foreignFields(f *fixture) {
	id := pizza(f.place(1), 1)
	fact := f.fact(id, "cheese", 1)
	fact.Body = []byte(`{"id":"` + id.String() + `","extra":{"deep":[1.50,"é"]},"sauce":"x","cheese":"y"}`)
	fact.Source = "a stage in another language"
	f.advance(fact)
	journal, err := f.l.Journal(f.ctx(), id)
	f.must(err)
	f.equal("own", string(journal[2].Body), string(fact.Body))
	f.equal("inferred", string(journal[1].Body), `{"id":"`+id.String()+`","extra":{"deep":[1.50,"é"]},"sauce":"x"}`)
}
