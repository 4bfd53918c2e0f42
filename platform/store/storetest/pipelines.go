package storetest

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

// Tests of pipelines that change under what the ledger has.
var pipelineTests = []test{
	{"Pipeline/GetsAStage", pipelineGrows},
	{"Pipeline/LosesAStage", pipelineShrinks},
	{"Pipeline/StageComesBack", stageComesBack},
	{"Pipeline/EndsEarlier", pipelineEndsEarlier},
	{"Pipeline/OrdersInFlight", ordersInFlight},
	{"Pipeline/OldProcessStillWrites", oldProcessWrites},
	{"Pipeline/TwoAtOnce", twoPipelines},
}

func pipelineGrows(f *fixture) {
	order := f.place(3)
	f.bake(pizza(order, 1))
	f.advance(f.fact(pizza(order, 2), "sauce", 1))
	f.restart(store.Options{}, "crust", "sauce", "cheese", "meat")
	f.equal("progress", f.order(order).Progress, []store.StepCount{
		{Step: "pizza", Count: 2}, {Step: "crust", Count: 1}, {Step: "sauce", Count: 2}, {Step: "cheese", Count: 1}, {Step: "meat", Count: 1},
	})
	f.equal("totals", f.totals().Passed, f.order(order).Progress)
	f.equal("complete stays complete", f.steps(pizza(order, 1)), []string{"pizza 0", "sauce 1", "cheese 2", "meat 3"})
	f.advance(f.fact(pizza(order, 1), "crust", 9)) // complete is final
	f.equal("steps", len(f.steps(pizza(order, 1))), 4)
	f.sound()
	f.advance(f.fact(pizza(order, 2), "meat", 5))
	f.equal("steps", f.steps(pizza(order, 2)), []string{"pizza 1?", "crust 1?", "sauce 1", "cheese 5?", "meat 5"})
	f.equal("progress", f.progress(order), []int{2, 2, 2, 2, 2})
	f.equal("totals", f.totals().Passed, f.order(order).Progress)
	f.sound()
}

func pipelineShrinks(f *fixture) {
	order := f.place(2)
	f.bake(pizza(order, 1))
	f.advance(f.fact(pizza(order, 2), "pizza", 1), f.fact(pizza(order, 2), "sauce", 2), f.fact(pizza(order, 2), "cheese", 3))
	f.restart(store.Options{}, "sauce", "meat")
	f.equal("progress", f.progress(order), []int{2, 2, 1})
	f.equal("steps", f.steps(pizza(order, 2)), []string{"pizza 1", "sauce 2", "cheese 3"})
	errs, err := f.l.Advance(f.ctx(), []store.Fact{{Pizza: pizza(order, 2), Step: "cheese", At: at(9), Body: f.body(pizza(order, 2), "sauce")}})
	f.must(err)
	f.is("step that left", errs[0], store.ErrUnknownStep)
	f.advance(f.fact(pizza(order, 2), "meat", 4))
	f.equal("steps", f.steps(pizza(order, 2)), []string{"pizza 1", "sauce 2", "cheese 3", "meat 4"})
	journal, err := f.l.Journal(f.ctx(), pizza(order, 2))
	f.must(err)
	f.equal("journal keeps what left", journal[2].Topic, "pizza-with-cheese")
	f.equal("status", f.order(order).Status(), store.Complete)
	f.sound()
}

func stageComesBack(f *fixture) {
	old := f.place(2)
	f.bake(pizza(old, 1))
	f.restart(store.Options{}, "sauce", "meat") // without cheese
	young := f.place(1)
	f.bake(pizza(old, 2))
	f.bake(pizza(young, 1))
	f.restart(store.Options{}, "sauce", "cheese", "meat")
	f.equal("old", f.progress(old), []int{2, 2, 2, 2})
	f.equal("young", f.progress(young), []int{1, 1, 1, 1})
	f.equal("past cheese", f.totals().Passed[2], store.StepCount{Step: "cheese", Count: 3})
	f.sound()
}

// The pizza is past meat when meat becomes the end: its next event completes it,
// and its body is the pizza's, while the journal keeps what it saw first.
func pipelineEndsEarlier(f *fixture) {
	id := pizza(f.place(1), 1)
	f.advance(f.fact(id, "cheese", 1))
	f.restart(store.Options{}, "sauce", "cheese")
	f.equal("status", f.pizza(id).Status, store.Cooking)
	last := f.fact(id, "cheese", 5)
	last.Body = event.New(id, 0).With("sauce", "new").With("cheese", "new").Body()
	f.advance(last)
	p := f.pizza(id)
	f.equal("status", p.Status, store.Complete)
	f.equal("body", string(p.Body), string(last.Body))
	f.equal("completed at", p.CompletedAt, at(5))
	journal, err := f.l.Journal(f.ctx(), id)
	f.must(err)
	f.equal("journal", string(journal[2].Body), string(f.body(id, "cheese")))
	f.sound()
}

// What was in flight is made anew under the new pipeline, beside what it has
// already, and what was complete stays as it was.
func ordersInFlight(f *fixture) {
	f.restart(store.Options{}, "sauce", "cheese", "meat", "veggies")
	order := f.place(4)
	f.dispatch(1000)
	f.bake(pizza(order, 1))
	for ms, step := range []string{"pizza", "sauce", "cheese"} {
		f.advance(f.fact(pizza(order, 2), step, ms))
	}
	f.advance(f.fact(pizza(order, 3), "pizza", 0))
	f.bury(f.letter(pizza(order, 4), "cheese", "sauce", store.KindExhausted))
	f.must(f.l.Leave(f.ctx()))

	b := f.peer("b", store.Options{}, "crust", "sauce", "cheese", "meat", "veggies")
	f.equal("progress before", b.progress(order), []int{4, 1, 3, 2, 1, 1})
	f.must(b.join("kafka/new/1"))
	f.equal("made anew", numbersOf(b.lease(1000)), []int{2, 3})
	for n := 2; n <= 3; n++ {
		for i, step := range b.p.Steps()[:2] {
			b.advance(b.fact(pizza(order, n), step, 10+i))
		}
	}
	b.equal("on the way", b.steps(pizza(order, 2)), []string{"pizza 0", "crust 11", "sauce 11", "cheese 11"})
	b.equal("progress", b.progress(order), []int{4, 3, 3, 2, 1, 1})
	for i, c := range b.totals().Passed {
		b.equal("total past "+c.Step, c.Count, b.progress(order)[i])
	}
	b.sound()
	for n := 2; n <= 3; n++ {
		for i, step := range b.p.Steps() {
			b.advance(b.fact(pizza(order, n), step, 10+i))
		}
		p := b.pizza(pizza(order, n))
		b.equal("status", p.Status, store.Complete)
		b.equal("the body has every stage", string(p.Body), string(b.body(p.ID, "veggies")))
	}
	b.equal("steps", b.steps(pizza(order, 2)), []string{"pizza 0", "crust 11", "sauce 11", "cheese 11", "meat 14", "veggies 15"})
	b.equal("stream", b.stream(order)[8:], []string{
		"9 stage 2 cheese", "10 dispatched 3", "11 dispatched 4", "12 stage 4 sauce", "13 dead_letter 4",
		"14 stage 2 crust", "15 stage 3 crust", "16 stage 2 meat", "17 stage 2 veggies", "18 complete 2",
		"19 stage 3 sauce", "20 stage 3 cheese", "21 stage 3 meat", "22 stage 3 veggies", "23 complete 3",
	})
	b.equal("complete before", b.steps(pizza(order, 1)), []string{"pizza 0", "sauce 1", "cheese 2", "meat 3", "veggies 4"})
	b.equal("progress", b.progress(order), []int{4, 3, 4, 3, 3, 3})
	b.equal("status", b.order(order).Status(), store.Partial)
	b.sound()
}

// A process with the old pipeline has been left behind and still has facts to
// write, into orders that know the new stage, and into those that do not.
func oldProcessWrites(f *fixture) {
	known, unknown := f.place(2), f.place(2)
	b := f.peer("b", soon, "crust", "sauce", "cheese", "meat")
	f.must(b.join("kafka/new/1"))
	b.advance(b.fact(pizza(known, 1), "crust", 1))
	for _, id := range []string{known, unknown} {
		f.bake(pizza(id, 1))
		f.advance(f.fact(pizza(id, 2), "sauce", 1))
	}
	f.equal("complete is past every step", b.progress(known), []int{2, 1, 2, 1, 1})
	f.equal("complete is past every step", b.progress(unknown), []int{2, 1, 2, 1, 1})
	for _, p := range []*fixture{f, b} {
		p.sound()
		for i, c := range p.totals().Passed {
			p.equal("past "+c.Step, c.Count, p.progress(known)[i]+p.progress(unknown)[i])
		}
	}
	b.bake(pizza(unknown, 2))
	b.equal("made under the new one", b.steps(pizza(unknown, 2)), []string{"pizza 0", "crust 1", "sauce 1", "cheese 3", "meat 4"})
	b.equal("past crust", b.totals().Passed[1], store.StepCount{Step: "crust", Count: 3})
	f.sound()
	b.sound()
}

// Whatever processes with several pipelines write in turns, all of them agree
// with the rows.
func twoPipelines(f *fixture) {
	outer := f.t.(*testing.T)
	defer func() { f.t = outer }()
	all := []*fixture{
		f.peer("a", soon, stages...),
		f.peer("b", soon, "crust", "sauce", "cheese", "meat"),
		f.peer("c", soon, "meat", "sauce"),
	}
	rapid.Check(outer, func(t *rapid.T) {
		orders := []string{f.place(2), f.place(1)}
		for range rapid.IntRange(1, 12).Draw(t, "writes") {
			p := all[rapid.IntRange(0, 2).Draw(t, "process")]
			p.t = t
			id := pizza(rapid.SampledFrom(orders).Draw(t, "order"), 1)
			step := rapid.SampledFrom(p.p.Steps()).Draw(t, "step")
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				p.must(p.join("kafka/" + p.name + "/1"))
			case 1:
				p.bury(p.letter(id, "some", step, store.KindExhausted))
			default:
				p.advance(p.fact(id, step, rapid.IntRange(0, 50).Draw(t, "ms")))
			}
		}
		judge := all[rapid.IntRange(0, 2).Draw(t, "judge")]
		judge.t = t
		judge.sound()
		for _, p := range all {
			p.t = t
			for _, order := range orders {
				done := p.order(order).Completed
				if slices.ContainsFunc(p.progress(order), func(n int) bool { return n < done }) {
					t.Fatalf("process %s: progress %v with %d complete", p.name, p.progress(order), done)
				}
			}
		}
	})
}
