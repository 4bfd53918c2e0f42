package storetest

import (
	"strconv"
	"time"

	"github.com/pizzamill/pizzamill/platform/store"
)

var readTests = []test{
	{"Reads/PizzaPages", pizzaPages},
	{"Reads/EventPages", eventPages},
	{"Reads/LastComplete", lastComplete},
	{"Reads/Watch", watch},
	{"Reads/BigOrder", bigOrder},
}

func pizzaPages(f *fixture) {
	order := f.place(10)
	for _, n := range []int{2, 3, 7} {
		f.bake(pizza(order, n))
	}
	f.bury(f.letter(pizza(order, 5), "cheese", "sauce", store.KindExhausted))
	f.advance(f.fact(pizza(order, 6), "sauce", 1))
	f.equal("any", f.numbers(order, 0, 100, store.AnyPizza), []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
	f.equal("any, a page", f.numbers(order, 4, 3, store.AnyPizza), []int{5, 6, 7})
	f.equal("complete", f.numbers(order, 0, 100, store.CompletePizzas), []int{2, 3, 7})
	f.equal("complete, a page", f.numbers(order, 2, 1, store.CompletePizzas), []int{3})
	f.equal("in flight", f.numbers(order, 0, 100, store.InFlightPizzas), []int{1, 4, 6, 8, 9, 10})
	f.equal("in flight, a page", f.numbers(order, 1, 3, store.InFlightPizzas), []int{4, 6, 8})
	f.equal("dead-lettered", f.numbers(order, 0, 100, store.DeadLetterPizzas), []int{5})
	f.equal("behind the last", f.numbers(order, 10, 100, store.AnyPizza), []int(nil))
	f.equal("none", f.numbers(order, 0, 0, store.AnyPizza), []int(nil))
	_, err := f.l.Pizzas(f.ctx(), "nobody", 0, 10, store.AnyPizza)
	f.is("unknown order", err, store.ErrNotFound)
	if _, err := f.l.Pizzas(f.ctx(), order, 0, 10, "burnt"); err == nil {
		f.t.Error("an unknown filter was taken")
	}
	pizzas, err := f.l.Pizzas(f.ctx(), order, 4, 2, store.AnyPizza)
	f.must(err)
	f.equal("pizzas", pizzas, []store.Pizza{f.pizza(pizza(order, 5)), f.pizza(pizza(order, 6))})
}

func eventPages(f *fixture) {
	order, other := f.place(3), f.place(1)
	f.bake(pizza(other, 1))
	for n := 1; n <= 3; n++ {
		f.bake(pizza(order, n))
	}
	var seqs []int64
	for {
		after := int64(len(seqs))
		page, err := f.l.Events(f.ctx(), order, after, 4)
		f.must(err)
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			f.equal("order", e.Pizza.Order, order)
			seqs = append(seqs, e.Seq)
			f.equal("number without a gap", e.Seq, int64(len(seqs)))
		}
	}
	f.equal("events", len(seqs), 15)
	for _, after := range []int64{15, 1 << 40} {
		page, err := f.l.Events(f.ctx(), order, after, 4)
		f.must(err)
		f.equal("behind the last", page, []store.StreamEvent(nil))
	}
	_, err := f.l.Events(f.ctx(), "nobody", 0, 10)
	f.is("unknown order", err, store.ErrNotFound)
}

func lastComplete(f *fixture) {
	_, ok, err := f.l.LastComplete(f.ctx())
	f.must(err)
	f.equal("none yet", ok, false)
	order := f.place(3)
	for _, n := range []int{3, 1, 2} {
		f.bake(pizza(order, n))
		last, ok, err := f.l.LastComplete(f.ctx())
		f.must(err)
		f.equal("there is one", ok, true)
		f.equal("last", last, f.pizza(pizza(order, n)))
	}
	f.restart(store.Options{}, f.p.Stages()...)
	last, _, err := f.l.LastComplete(f.ctx())
	f.must(err)
	f.equal("last after a restart", last.ID.Number, 2)
}

func watch(f *fixture) {
	anyOrder, stopAny := f.l.Watch("")
	defer stopAny()
	order, other := f.place(2), f.place(1)
	f.equal("any, new order", fired(anyOrder), true)
	one, stopOne := f.l.Watch(order)
	two, stopTwo := f.l.Watch(order)
	defer stopTwo()
	f.advance(f.fact(pizza(other, 1), "sauce", 1))
	f.equal("another order", fired(one), false)
	f.equal("any", fired(anyOrder), true)
	f.advance(f.fact(pizza(order, 1), "sauce", 1))
	f.advance(f.fact(pizza(order, 1), "meat", 1))
	f.equal("one", fired(one), true)
	f.equal("signals that are not taken are one", fired(one), false)
	f.equal("two", fired(two), true)
	fired(anyOrder)
	f.advance(f.fact(pizza(order, 1), "meat", 1))
	f.dispatch(100)
	f.equal("nothing that readers see", fired(one) || fired(anyOrder), false)
	stopOne()
	stopOne()
	f.bury(f.letter(pizza(order, 2), "cheese", "sauce", store.KindPoison))
	f.equal("stopped", fired(one), false)
	f.equal("the other one goes on", fired(two), true)
}

// An order of 100,000 is not looked at as a whole for a page of it.
func bigOrder(f *fixture) {
	const count = 100_000
	order := f.place(count)
	facts := make([]store.Fact, 0, 4096)
	baked := 0
	for n := 1; n <= 20_000; n++ {
		if n%5000 == 0 {
			continue // stragglers
		}
		facts = append(facts, f.fact(pizza(order, n), "meat", 1))
		baked++
		if len(facts) == cap(facts) || n == 19_999 {
			f.advance(facts...)
			facts = facts[:0]
		}
	}
	began := time.Now()
	f.equal("in flight", f.numbers(order, 0, 6, store.InFlightPizzas), []int{5000, 10000, 15000, 20000, 20001, 20002})
	f.equal("complete", f.numbers(order, 19_998, 5, store.CompletePizzas), []int{19_999})
	f.equal("any", f.numbers(order, count-2, 5, store.AnyPizza), []int{count - 1, count})
	f.equal("dead-lettered", f.numbers(order, 0, 5, store.DeadLetterPizzas), []int(nil))
	f.t.Log("four pages took " + strconv.FormatInt(time.Since(began).Microseconds(), 10) + " µs")
	f.equal("completed", f.order(order).Completed, baked)
}
