package storetest

import (
	"fmt"
	"math"
	"strings"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

var letterTests = []test{
	{"Letters/OfAStage", letterOfStage},
	{"Letters/Again", letterAgain},
	{"Letters/Poison", letterPoison},
	{"Letters/OfNobodysPizza", letterOfNobody},
	{"Letters/CountsOfAnybody", letterCounts},
	{"Letters/OfACompletePizza", letterOfComplete},
	{"Letters/CompletionEndsIt", letterEndsByCompletion},
	{"Letters/CutBody", letterCut},
	{"Letters/Pages", letterPages},
	{"Letters/IDsAndFingerprints", letterNames},
}

// letter is a failure of a module on the event of a pizza at the step before it.
func (f *fixture) letter(id event.PizzaID, module, step, kind string) store.DeadLetter {
	return store.DeadLetter{
		ID: store.LetterID(module, event.ID(id.String(), step, 0)), Status: store.LetterDead, Pizza: &id,
		Topic: event.Topic(step), Module: module, Error: "the oven is cold", Kind: kind, Attempts: 5,
		Fingerprint: store.Fingerprint(module, kind, "the oven is cold"), FirstFailed: at(20), LastFailed: at(30),
		Key: id.String(), Headers: map[string]string{"ce_id": "x"}, Body: f.body(id, step),
	}
}

func (f *fixture) bury(d store.DeadLetter) {
	f.t.Helper()
	f.must(f.l.AddDeadLetter(f.ctx(), d))
}

func letterOfStage(f *fixture) {
	id := pizza(f.place(2), 1)
	f.advance(f.fact(id, "pizza", 1))
	d := f.letter(id, "cheese", "sauce", store.KindExhausted)
	f.bury(d)
	p := f.pizza(id)
	f.equal("status", p.Status, store.DeadLettered)
	f.equal("failure", p.Failure, &store.Failure{LetterID: d.ID, Module: "cheese", Error: "the oven is cold", Attempts: 5, At: at(30)})
	f.equal("steps", f.steps(id), []string{"pizza 1", "sauce 20?"})
	f.equal("body", string(p.Body), string(f.body(id, "sauce")))
	f.equal("stream", f.stream(id.Order), []string{"1 dispatched 1", "2 stage 1 sauce", "3 dead_letter 1"})
	events, err := f.l.Events(f.ctx(), id.Order, 2, 10)
	f.must(err)
	f.equal("event", events[0], store.StreamEvent{
		Seq: 3, Kind: store.EventDeadLetter, Pizza: id, At: at(30), Module: "cheese", Error: "the oven is cold",
	})
	got, err := f.l.DeadLetter(f.ctx(), d.ID)
	f.must(err)
	f.equal("letter", got, d)
	f.equal("order", f.order(id.Order).DeadLettered, 1)
	f.equal("status", f.order(id.Order).Status(), store.Cooking)
	f.equal("in flight", f.totals().InFlight(), int64(1))
	f.bake(pizza(id.Order, 2))
	f.equal("status", f.order(id.Order).Status(), store.Partial)
	f.equal("dead-lettered", f.numbers(id.Order, 0, 10, store.DeadLetterPizzas), []int{1})
	f.sound()
}

func letterAgain(f *fixture) {
	id := pizza(f.place(1), 1)
	d := f.letter(id, "cheese", "sauce", store.KindExhausted)
	f.bury(d)
	stream := f.stream(id.Order)
	again := d
	again.FirstFailed, again.LastFailed, again.Attempts, again.Error = at(10), at(40), 7, "still cold"
	again.Body, again.Kind = []byte("other"), store.KindPanic
	f.bury(again)
	want := d
	want.FirstFailed, want.LastFailed, want.Attempts, want.Error = at(10), at(40), 7, "still cold"
	want.Kind = store.KindPanic // why it failed last, which is what its group is about
	got, err := f.l.DeadLetter(f.ctx(), d.ID)
	f.must(err)
	f.equal("letter", got, want)
	f.equal("stream", f.stream(id.Order), stream)
	f.equal("dead-lettered", f.order(id.Order).DeadLettered, 1)

	requeued := again
	requeued.Requeues = 2
	f.bury(requeued)
	late := again
	late.Requeues, late.Error = 1, "late"
	f.bury(late)
	got, err = f.l.DeadLetter(f.ctx(), d.ID)
	f.must(err)
	f.equal("requeues", got.Requeues, 2)
	f.equal("error", got.Error, "still cold")

	second := f.letter(id, "meat", "cheese", store.KindExhausted)
	f.bury(second)
	f.equal("counted once", f.order(id.Order).DeadLettered, 1)
	f.equal("failure", f.pizza(id).Failure.LetterID, d.ID)
	f.sound()
}

func letterPoison(f *fixture) {
	id := pizza(f.place(1), 1)
	f.bury(f.letter(id, "cheese", "sauce", store.KindPoison))
	f.equal("status", f.pizza(id).Status, store.DeadLettered)
	f.equal("steps", f.steps(id), []string(nil))
	f.equal("stream", f.stream(id.Order), []string{"1 dead_letter 1"})
	f.equal("progress", f.progress(id.Order), []int{0, 0, 0, 0})
	f.sound()
}

func letterOfNobody(f *fixture) {
	order := f.place(1)
	for _, id := range []event.PizzaID{pizza("nobody", 1), pizza(order, 2)} {
		d := f.letter(id, "pizza", "meat", store.KindPoison)
		f.bury(d)
		got, err := f.l.DeadLetter(f.ctx(), d.ID)
		f.must(err)
		f.equal("letter", got, d)
	}
	d := f.letter(pizza(order, 1), "pizza", "meat", store.KindPoison)
	d.Pizza, d.Headers, d.Body, d.ID = nil, nil, []byte("\x00\xff"), "no pizza"
	f.bury(d)
	got, err := f.l.DeadLetter(f.ctx(), d.ID)
	f.must(err)
	f.equal("letter", got, d)
	f.equal("dead-lettered", f.totals().DeadLettered, int64(0))
	f.equal("stream", f.stream(order), []string(nil))
	_, err = f.l.DeadLetter(f.ctx(), "nothing")
	f.is("unknown letter", err, store.ErrNotFound)
	d.ID = ""
	if err := f.l.AddDeadLetter(f.ctx(), d); err == nil {
		f.t.Fatal("a letter without an ID was taken")
	}
	f.sound()
}

// Who writes to the topic of dead letters writes what it likes.
func letterCounts(f *fixture) {
	id := pizza(f.place(1), 1)
	d := f.letter(id, "cheese", "sauce", store.KindExhausted)
	for n, want := range map[int]int{3_000_000_000: math.MaxInt32, math.MaxInt: math.MaxInt32, -3_000_000_000: 0, math.MaxInt32: math.MaxInt32} {
		d.ID = fmt.Sprint("letter ", n)
		d.Attempts, d.Requeues = n, n
		f.bury(d)
		f.bury(d) // again, which is an update
		got, err := f.l.DeadLetter(f.ctx(), d.ID)
		f.must(err)
		f.equal("counts", []int{got.Attempts, got.Requeues}, []int{want, want})
	}
}

func letterOfComplete(f *fixture) {
	id := pizza(f.place(1), 1)
	f.bake(id)
	before := f.order(id.Order)
	f.bury(f.letter(id, "meat", "cheese", store.KindExhausted))
	f.equal("order", f.order(id.Order), before)
	f.equal("status", f.pizza(id).Status, store.Complete)
	letters, err := f.l.DeadLetters(f.ctx(), store.LetterFilter{}, 10, "")
	f.must(err)
	f.equal("listed", len(letters), 1)
	f.sound()
}

func letterEndsByCompletion(f *fixture) {
	id := pizza(f.place(1), 1)
	f.bury(f.letter(id, "pizza", "meat", store.KindPanic)) // implies every step and completes nothing
	f.equal("steps", f.steps(id), []string{"pizza 20?", "sauce 20?", "cheese 20?", "meat 20?"})
	f.equal("status", f.order(id.Order).Status(), store.Partial)
	f.advance(f.fact(id, "meat", 9))
	p := f.pizza(id)
	f.equal("status", p.Status, store.Complete)
	f.equal("failure", p.Failure, (*store.Failure)(nil))
	f.equal("steps", f.steps(id), []string{"pizza 9?", "sauce 9?", "cheese 9?", "meat 9"})
	o := f.order(id.Order)
	f.equal("counts", []int{o.Completed, o.DeadLettered}, []int{1, 0})
	f.equal("status", o.Status(), store.Complete)
	f.equal("stream", f.stream(id.Order), []string{
		"1 dispatched 1", "2 stage 1 sauce", "3 stage 1 cheese", "4 stage 1 meat", "5 dead_letter 1", "6 complete 1",
	})
	f.sound()
}

func letterCut(f *fixture) {
	order := f.place(3)
	cut := f.letter(pizza(order, 1), "meat", "cheese", store.KindExhausted)
	cut.Body, cut.Truncated = cut.Body[:10], true
	other := f.letter(pizza(order, 2), "meat", "cheese", store.KindExhausted)
	other.Body = f.body(pizza(order, 1), "cheese")
	elsewhere := f.letter(pizza(order, 3), "meat", "cheese", store.KindExhausted)
	elsewhere.Topic = "a topic of another pipeline"
	for n, d := range []store.DeadLetter{cut, other, elsewhere} {
		f.bury(d)
		f.equal("status", f.pizza(pizza(order, n+1)).Status, store.DeadLettered)
		f.equal("steps", f.steps(pizza(order, n+1)), []string(nil))
	}
	f.sound()
}

func letterPages(f *fixture) {
	order, other := f.place(9), f.place(1)
	var want []string
	for n := range 9 {
		d := f.letter(pizza(order, n+1), "meat", "cheese", store.KindExhausted)
		d.FirstFailed = at(n / 2) // some at the same time
		if n%3 == 0 {
			d.Module = "cheese"
		}
		f.bury(d)
	}
	f.bury(f.letter(pizza(other, 1), "meat", "sauce", store.KindExhausted))
	after := ""
	for {
		page, err := f.l.DeadLetters(f.ctx(), store.LetterFilter{Order: order}, 2, after)
		f.must(err)
		if len(page) == 0 {
			break
		}
		for _, d := range page {
			want = append(want, d.ID)
			f.equal("body is left out", d.Body, []byte(nil))
		}
		after = want[len(want)-1]
	}
	f.equal("pages", len(want), 9)
	for filter, n := range map[store.LetterFilter]int{
		{}:                             10,
		{Module: "cheese"}:             3,
		{Module: "meat", Order: order}: 6,
		{Topic: "pizza-with-sauce"}:    1,
		{Status: store.LetterDead}:     10,
		{Status: store.LetterRequeued}: 0,
		{Module: "meat", Status: "dead", Topic: "pizza-with-cheese", Order: order}: 6,
	} {
		letters, err := f.l.DeadLetters(f.ctx(), filter, 100, "")
		f.must(err)
		f.equal("letters", len(letters), n)
	}
}

func letterNames(f *fixture) {
	if first := store.LetterID("a", "bc"); first == store.LetterID("ab", "c") || first != store.LetterID("a", "bc") {
		f.t.Error("letter IDs do not follow from module and identity")
	}
	if id := store.LetterID("sauce", "x/y z"); strings.ContainsAny(id, "/+= ") || len(id) != 20 {
		f.t.Errorf("letter ID %q is not short and URL-safe", id)
	}
	same := func(a, b string) bool {
		return store.Fingerprint("sauce", "panic", a) == store.Fingerprint("sauce", "panic", b)
	}
	for a, b := range map[string]string{
		"pizza 06h1awx32wrd84qr-12: gone":                         "pizza 06h1awx3zz0d84q0-7: gone",
		"order 06h1awx32wrd84qr":                                  "order 16h1awx32wrd84qx",
		"after 1.5s, 3 times":                                     "after 20.25s, 4711 times",
		"id 7d444840-9dc0-11d1-b245-5ffdce74fad2 at 0xc000123400": "id 00000000-9dc0-11d1-b245-5ffdce74fad2 at 0xdeadbeef12",
	} {
		if !same(a, b) {
			f.t.Errorf("%q and %q are two causes", a, b)
		}
	}
	if same("no cheese", "no sauce") || store.Fingerprint("a", "panic", "x") == store.Fingerprint("b", "panic", "x") {
		f.t.Error("two causes are one")
	}
}
