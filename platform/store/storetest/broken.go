package storetest

import (
	"context"
	"errors"

	"github.com/pizzamill/pizzamill/platform/store"
)

// brokenOrder has an order whose stream number is behind its events, as after a
// restore from two times: whatever would draw the next one meets a row that is
// there, now and for ever.
func brokenOrder(f *fixture) {
	broken, healthy := f.place(4), f.place(40)
	f.advance(f.fact(pizza(broken, 1), "pizza", 1), f.fact(pizza(broken, 2), "pizza", 1))
	f.setLastEvent(broken, 0)
	stuck := func(what string, err error) {
		f.t.Helper()
		if err == nil || errors.Is(err, store.ErrUnavailable) { // for which others would wait
			f.t.Errorf("%s of the broken order: %v", what, err)
		}
	}
	calls := []func(context.Context) error{
		f.advancing(f.fact(pizza(broken, 3), "sauce", 2)),
		func(ctx context.Context) error {
			return f.l.AddDeadLetter(ctx, f.letter(pizza(broken, 4), "cheese", "sauce", store.KindExhausted))
		},
		f.advancing(f.fact(pizza(healthy, 1), "sauce", 2)),
		func(ctx context.Context) error { _, _, err := f.l.PlaceOrder(ctx, 7, ""); return err },
	}
	errs := f.together(nil, calls...)
	stuck("a fact", errs[0])
	stuck("a letter", errs[1])
	f.must(errors.Join(errs[2:]...))

	var facts []store.Fact // of both in one call, as the journal has them
	for n := 2; n <= 40; n++ {
		facts = append(facts, f.fact(pizza(healthy, n), "sauce", n), f.fact(pizza(broken, n%4+1), "sauce", n))
	}
	each, err := f.l.Advance(f.ctx(), facts)
	f.must(err)
	for i := range facts {
		if i%2 == 0 {
			f.must(each[i])
		} else {
			stuck("one fact of many", each[i])
		}
	}
	_, err = f.l.Advance(f.ctx(), facts[1:2])
	stuck("a fact alone", err)
	f.equal("past sauce", f.progress(healthy), []int{40, 40, 0, 0})
	f.must(f.l.Check(f.ctx()))

	f.setLastEvent(broken, 2)
	f.advance(f.fact(pizza(broken, 3), "sauce", 2))
	f.equal("mended", len(f.stream(broken)), 4)
	f.sound()
}

func (f *fixture) setLastEvent(order string, n int64) {
	f.t.Helper()
	f.must(f.spy.Update(f.ctx(), func(tx store.Tx) error {
		rows, err := tx.Orders([]string{order})
		if err != nil {
			return err
		}
		rows[0].LastEvent = n
		return tx.Write(&store.Changes{Orders: []*store.OrderRow{&rows[0]}})
	}))
}

// One fact after the other of an order that something is in the way of would
// keep the writer from all others for minutes.
func brokenOrderOnce(f *fixture) {
	broken, healthy := f.place(1000), f.place(1)
	var facts []store.Fact
	for n := 1; n <= 1000; n++ {
		facts = append(facts, f.fact(pizza(broken, n), "sauce", n))
	}
	facts = append(facts, f.fact(pizza(healthy, 1), "sauce", 1))
	tries := 0
	f.spy.setBefore(func(c *store.Changes) error {
		tries++
		for _, o := range c.Orders {
			if o.ID == broken {
				return store.ErrConflict
			}
		}
		return nil
	})
	errs, err := f.l.Advance(f.ctx(), facts)
	f.must(err)
	for _, err := range errs[:1000] {
		f.is("broken", err, store.ErrConflict)
	}
	f.must(errs[1000])
	if tries > 50 {
		f.t.Errorf("%d tries", tries)
	}
}
