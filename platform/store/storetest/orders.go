package storetest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

var orderTests = []test{
	{"Orders/NewOrder", newOrder},
	{"Orders/CostsTheSameForAnyCount", orderCost},
	{"Orders/IDsIncrease", orderIDs},
	{"Orders/Pages", orderPages},
	{"Orders/KeyGivesTheSameOrder", keyAgain},
	{"Orders/KeyRace", keyRace},
	{"Orders/KeysAreForgotten", keyForgotten},
	{"Orders/BadCount", badCount},
}

func newOrder(f *fixture) {
	o, created, err := f.l.PlaceOrder(f.ctx(), 3, "")
	f.must(err)
	want := store.Order{
		ID: o.ID, Count: 3, CreatedAt: at(0),
		Progress: []store.StepCount{{Step: "pizza"}, {Step: "sauce"}, {Step: "cheese"}, {Step: "meat"}},
	}
	f.equal("created", created, true)
	f.equal("placed order", o, want)
	f.equal("order", f.order(o.ID), want)
	f.equal("status", o.Status(), store.Cooking)
	f.equal("valid ID", event.ValidOrderID(o.ID) && len(o.ID) == 16, true)
	f.equal("totals", f.totals(), store.Totals{
		Ordered: 3, Undispatched: 3, OldestInFlight: at(0), Passed: want.Progress,
	})
	_, err = f.l.Order(f.ctx(), "nobody")
	f.is("unknown order", err, store.ErrNotFound)
	f.sound()
	f.restart(store.Options{}, f.p.Stages()...)
	f.equal("order after a restart", f.order(o.ID), want)
}

func orderCost(f *fixture) {
	f.place(1)
	f.spy.take()
	f.place(100_000)
	f.equal("rows written", f.spy.take(), []sizes{{NewOrders: 1}})
}

func orderIDs(f *fixture) {
	var ids []string
	for i := range 40 {
		if i == 20 {
			f.clock = f.clock.Add(-time.Hour) // IDs go on when the clock steps back
		}
		ids = append(ids, f.place(1))
	}
	if !slices.IsSorted(ids) || len(slices.Compact(ids)) != 40 {
		f.t.Fatal("order IDs do not strictly increase")
	}
	f.clock = at(1)
	if next := f.place(1); next <= ids[39] {
		f.t.Fatalf("%s follows %s", next, ids[39])
	}
}

func orderPages(f *fixture) {
	var ids []string
	for range 5 {
		ids = append(ids, f.place(1))
	}
	slices.Reverse(ids)
	var got []string
	before := ""
	for {
		page, err := f.l.Orders(f.ctx(), 2, before)
		f.must(err)
		if len(page) == 0 {
			break
		}
		for _, o := range page {
			got = append(got, o.ID)
		}
		before = got[len(got)-1]
	}
	f.equal("orders, newest first", got, ids)
	none, err := f.l.Orders(f.ctx(), 0, "")
	f.must(err)
	f.equal("no orders", none, []store.Order(nil))
}

func keyAgain(f *fixture) {
	first, created, err := f.l.PlaceOrder(f.ctx(), 3, "a key")
	f.must(err)
	f.equal("created", created, true)
	f.bake(pizza(first.ID, 1))
	for range 2 {
		again, created, err := f.l.PlaceOrder(f.ctx(), 3, "a key")
		f.must(err)
		f.equal("created again", created, false)
		f.equal("the order as it is now", again, f.order(first.ID))
		_, _, err = f.l.PlaceOrder(f.ctx(), 4, "a key")
		f.is("another count", err, store.ErrKeyReused)
		f.restart(store.Options{}, f.p.Stages()...)
	}
	other, created, err := f.l.PlaceOrder(f.ctx(), 3, "another key")
	f.must(err)
	f.equal("created", created && other.ID != first.ID, true)
	f.equal("ordered", f.totals().Ordered, int64(6))
}

func keyRace(f *fixture) {
	const callers = 64
	ids := make([]string, callers)
	made := make([]bool, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			o, created, err := f.l.PlaceOrder(f.ctx(), 2, fmt.Sprint("key ", i%4))
			if err != nil {
				f.t.Error(err)
			}
			ids[i], made[i] = o.ID, created
		})
	}
	wg.Wait()
	for k := range 4 {
		orders, creations := map[string]bool{}, 0
		for i := k; i < callers; i += 4 {
			orders[ids[i]] = true
			if made[i] {
				creations++
			}
		}
		if len(orders) != 1 || creations != 1 {
			f.t.Fatalf("key %d gave %d orders, %d of them new", k, len(orders), creations)
		}
	}
	f.equal("ordered", f.totals().Ordered, int64(8))
	f.sound()
}

func keyForgotten(f *fixture) {
	old, _, err := f.l.PlaceOrder(f.ctx(), 1, "old")
	f.must(err)
	again := func(after time.Duration) bool {
		f.clock = at(0).Add(after)
		_, _, err := f.l.PlaceOrder(f.ctx(), 1, fmt.Sprint("key of ", after))
		f.must(err) // a new key is when old ones are looked at
		o, _, err := f.l.PlaceOrder(f.ctx(), 1, "old")
		f.must(err)
		return o.ID == old.ID
	}
	f.equal("known after 25 h", again(25*time.Hour), true)
	f.equal("known after 49 h", again(49*time.Hour), false)
}

func badCount(f *fixture) {
	for _, count := range []int{0, -1} {
		if _, _, err := f.l.PlaceOrder(f.ctx(), count, ""); err == nil {
			f.t.Errorf("an order of %d pizzas was taken", count)
		}
	}
	f.equal("ordered", f.totals().Ordered, int64(0))
}
