package storetest

import (
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

// Tests of pipelines that change under what the ledger has.
var pipelineTests = []test{
	{"Pipeline/GetsAStage", pipelineGrows},
	{"Pipeline/LosesAStage", pipelineShrinks},
	{"Pipeline/StageComesBack", stageComesBack},
	{"Pipeline/EndsEarlier", pipelineEndsEarlier},
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
