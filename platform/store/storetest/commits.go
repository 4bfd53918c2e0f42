package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/pizzamill/pizzamill/platform/store"
)

var commitTests = []test{
	{"Commits/WhatWaitsIsOneCommit", groupCommit},
	{"Commits/OnlyTheGuiltySeesTheError", guilty},
	{"Commits/BrokenOrderIsAlone", brokenOrder},
	{"Commits/BrokenOrderIsTriedOnce", brokenOrderOnce},
	{"Commits/UnavailableIsForAll", unavailable},
	{"Commits/UnavailableMeanwhile", unavailableMeanwhile},
	{"Commits/PanicOfOne", panicOfOne},
	{"Commits/ContextEndsInTheQueue", droppedInQueue},
	{"Commits/ContextEndsInTheCommit", endsInCommit},
	{"Commits/Closed", closed},
	{"Commits/Observed", observed},
	{"Commits/Check", check},
	{"Commits/Concurrently", concurrently},
}

// inParallel runs fn n times at once and waits.
func (f *fixture) inParallel(n int, fn func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(i) })
	}
	wg.Wait()
}

// together starts calls while a commit is held, so that they are the next commit,
// and returns their errors. before, if set, is called at each of their writes.
func (f *fixture) together(before func(*store.Changes) error, calls ...func(ctx context.Context) error) []error {
	f.t.Helper()
	entered, release := f.spy.hold(before)
	defer release()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f.l.Check(f.ctx()); err != nil {
			f.t.Error(err)
		}
	})
	<-entered
	errs := make([]error, len(calls))
	for i, call := range calls {
		ctx := newQueued(f.ctx())
		wg.Go(func() { errs[i] = call(ctx) })
		<-ctx.waits
	}
	f.spy.take()
	release()
	wg.Wait()
	f.spy.setBefore(nil)
	return errs
}

func (f *fixture) advancing(facts ...store.Fact) func(context.Context) error {
	return func(ctx context.Context) error {
		errs, err := f.l.Advance(ctx, facts)
		return errors.Join(append(errs, err)...)
	}
}

func groupCommit(f *fixture) {
	id := pizza(f.place(1), 1)
	var calls []func(context.Context) error
	for i, step := range []string{"sauce", "pizza", "meat", "cheese", "meat"} {
		calls = append(calls, f.advancing(f.fact(id, step, i)))
	}
	placed := make([]store.Order, 10)
	for i := range placed {
		calls = append(calls, func(ctx context.Context) (err error) {
			placed[i], _, err = f.l.PlaceOrder(ctx, 1, "")
			return err
		})
	}
	f.must(errors.Join(f.together(nil, calls...)...))
	f.equal("commits", f.spy.take(), []sizes{{NewOrders: 10, Orders: 1, Pizzas: 1, NewFacts: 5}})
	f.equal("status", f.pizza(id).Status, store.Complete)
	for _, o := range placed {
		f.equal("order", f.order(o.ID), o)
	}
	f.sound()
}

var errGuilty = errors.New("the database does not like this row")

func guilty(f *fixture) {
	order := f.place(50)
	var calls []func(context.Context) error
	for n := 1; n <= 50; n++ {
		calls = append(calls, f.advancing(f.fact(pizza(order, n), "sauce", n)))
	}
	calls = append(calls, func(ctx context.Context) error {
		_, _, err := f.l.PlaceOrder(ctx, 7, "key")
		return err
	})
	poison := f.body(pizza(order, 13), "sauce")
	tries, others := 0, 0
	errs := f.together(func(c *store.Changes) error {
		for _, fact := range c.NewFacts {
			if bytes.Equal(fact.Body, poison) {
				tries++
				return errGuilty
			}
		}
		others++
		return nil
	}, calls...)
	for i, err := range errs {
		if i == 12 {
			f.is("the guilty one", err, errGuilty)
		} else {
			f.must(err)
		}
	}
	f.equal("it was tried with the others, and alone", tries, 2)
	f.equal("commits of the others", others, 50)
	f.equal("past sauce", f.progress(order), []int{49, 49, 0, 0})
	f.equal("ordered", f.totals().Ordered, int64(57))
	f.sound()
}

// unavailableMeanwhile loses the database while members are done one by one.
// Each of them would wait for it as long as the first.
func unavailableMeanwhile(f *fixture) {
	order := f.place(9)
	var calls []func(context.Context) error
	for n := 1; n <= 9; n++ {
		calls = append(calls, f.advancing(f.fact(pizza(order, n), "sauce", n)))
	}
	tries := 0
	errs := f.together(func(*store.Changes) error {
		switch tries++; tries {
		case 1, 3:
			return errGuilty
		case 2, 4:
			return nil
		default:
			return fmt.Errorf("%w: it hangs", store.ErrUnavailable)
		}
	}, calls...)
	f.must(errs[0])
	f.is("the guilty one", errs[1], errGuilty)
	f.must(errs[2])
	for _, err := range errs[3:] {
		f.is("unavailable", err, store.ErrUnavailable)
	}
	f.equal("tries", tries, 5)
	f.spy.setBefore(nil)
	f.is("check right after a failure", f.l.Check(f.ctx()), store.ErrUnavailable)
	f.equal("past sauce", f.progress(order), []int{2, 2, 0, 0})
	f.sound()
}

func unavailable(f *fixture) {
	order := f.place(9)
	away := fmt.Errorf("%w: the disk is full", store.ErrUnavailable)
	tries := 0
	var calls []func(context.Context) error
	for n := 1; n <= 9; n++ {
		calls = append(calls, f.advancing(f.fact(pizza(order, n), "sauce", n)))
	}
	for _, err := range f.together(func(*store.Changes) error { tries++; return away }, calls...) {
		f.is("unavailable", err, store.ErrUnavailable)
	}
	f.equal("tries", tries, 1)
	f.spy.setBefore(func(*store.Changes) error { return away })
	f.is("check", f.l.Check(f.ctx()), store.ErrUnavailable)
	f.spy.setBefore(nil)
	f.is("check right after a failure", f.l.Check(f.ctx()), store.ErrUnavailable)
	f.equal("nothing was written", f.progress(order), []int{0, 0, 0, 0})
	f.advance(f.fact(pizza(order, 1), "sauce", 1))
	f.must(f.l.Check(f.ctx()))
	f.sound()
}

func panicOfOne(f *fixture) {
	order := f.place(1)
	var once sync.Once
	f.restart(store.Options{Random: panics{&once}}, f.p.Stages()...)
	errs := f.together(nil,
		func(ctx context.Context) error { _, _, err := f.l.PlaceOrder(ctx, 1, ""); return err },
		f.advancing(f.fact(pizza(order, 1), "sauce", 1)),
	)
	f.must(errors.Join(errs...)) // it panicked with the others, not when it was tried again
	f.equal("ordered", f.totals().Ordered, int64(2))
	f.sound()
}

// panics is randomness that panics once.
type panics struct{ once *sync.Once }

func (p panics) Read(b []byte) (int, error) {
	p.once.Do(func() { panic("no randomness") })
	clear(b)
	return len(b), nil
}

func droppedInQueue(f *fixture) {
	ctx, cancel := context.WithCancel(f.ctx())
	cancel()
	_, _, err := f.l.PlaceOrder(ctx, 1, "")
	f.is("ended before", err, context.Canceled)

	ctx, cancel = context.WithCancel(f.ctx())
	waiting := newQueued(ctx)
	entered, release := f.spy.hold(nil)
	defer release()
	held, dropped := make(chan error), make(chan error)
	go func() { held <- f.l.Check(f.ctx()) }()
	<-entered
	go func() {
		_, _, err := f.l.PlaceOrder(waiting, 1, "")
		dropped <- err
	}()
	<-waiting.waits
	cancel()
	f.is("ended in the queue", <-dropped, context.Canceled) // while the commit is still held
	release()
	f.must(<-held)
	f.equal("ordered", f.totals().Ordered, int64(0))
}

func endsInCommit(f *fixture) {
	ctx, cancel := context.WithCancel(f.ctx())
	entered, release := f.spy.hold(nil)
	var o store.Order
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		o, _, err = f.l.PlaceOrder(ctx, 1, "")
	}()
	<-entered
	cancel()
	release()
	<-done
	f.must(err) // it was written, so that is the answer
	f.equal("order", f.order(o.ID), o)
}

func closed(f *fixture) {
	order := f.place(1)
	f.must(f.l.Close())
	_, _, err := f.l.PlaceOrder(f.ctx(), 1, "")
	f.is("write", err, store.ErrClosed)
	f.is("check", f.l.Check(f.ctx()), store.ErrClosed)
	f.equal("reads go on", f.order(order).Count, 1)
	f.must(f.l.Close())
}

func observed(f *fixture) {
	var commits atomic.Int32
	f.restart(store.Options{ObserveCommit: func(s float64) {
		if s <= 0 {
			f.t.Errorf("a commit took %v s", s)
		}
		commits.Add(1)
	}}, f.p.Stages()...)
	commits.Store(0)
	f.place(1)
	f.lease(1)
	f.lease(1) // finds nothing and commits nothing
	f.equal("commits", commits.Load(), int32(2))
}

func check(f *fixture) {
	f.must(f.l.Check(f.ctx()))
	f.spy.setBefore(func(*store.Changes) error { return errGuilty })
	f.is("check", f.l.Check(f.ctx()), errGuilty)
}

func concurrently(f *fixture) {
	const orders, count = 8, 20
	var ids [orders]string
	f.inParallel(orders, func(i int) {
		o, _, err := f.l.PlaceOrder(f.ctx(), count, fmt.Sprint(i))
		if err != nil {
			f.t.Error(err)
		}
		ids[i] = o.ID
	})
	ctx, stop := context.WithCancel(f.ctx())
	var background sync.WaitGroup
	background.Go(func() { // the relay
		for ctx.Err() == nil {
			chunks, err := f.l.Lease(f.ctx(), 7)
			if err != nil {
				f.t.Error(err)
			}
			if err := f.l.Dispatched(f.ctx(), chunks); err != nil {
				f.t.Error(err)
			}
		}
	})
	background.Go(func() { // conservation, at every moment
		for ctx.Err() == nil {
			t, err := f.l.Totals(f.ctx())
			if err != nil || t.InFlight() < 0 || t.Ordered != orders*count {
				f.t.Errorf("totals are %+v, %v", t, err)
			}
		}
	})
	f.inParallel(32, func(worker int) {
		for i := range orders * count / 8 {
			id := pizza(ids[(i+worker)%orders], i%count+1)
			step := f.p.Steps()[(i*7+worker)%len(f.p.Steps())]
			if errs, err := f.l.Advance(f.ctx(), []store.Fact{f.fact(id, step, i), f.fact(id, "meat", 99)}); err != nil || errs != nil {
				f.t.Error(errs, err)
			}
		}
	})
	stop()
	background.Wait()
	for _, id := range ids {
		f.equal("status", f.order(id).Status(), store.Complete)
	}
	f.sound()
}
