package store_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

// blankDriver is a database without rows, which takes a time for each commit.
type blankDriver struct {
	store.Driver
	commits atomic.Int32
	takes   func()
	fails   func() error // may be nil
}

func (d *blankDriver) Update(_ context.Context, fn func(store.Tx) error) error {
	d.commits.Add(1)
	d.takes()
	if d.fails != nil {
		if err := d.fails(); err != nil {
			return err
		}
	}
	return fn(blankTx{})
}

type blankTx struct{ store.Tx }

func (blankTx) Orders([]string) ([]store.OrderRow, error)  { return nil, nil }
func (blankTx) Ready(int64, int) ([]store.OrderRow, error) { return nil, nil }
func (blankTx) Now() (int64, error)                        { return 0, nil }
func (blankTx) ShareBus() error                            { return nil }
func (blankTx) Write(*store.Changes) error                 { return nil }

func blankLedger(t *testing.T, takes func()) (*store.Ledger, *blankDriver) {
	t.Helper()
	p, err := event.NewPipeline("sauce")
	if err != nil {
		t.Fatal(err)
	}
	d := &blankDriver{takes: takes}
	return store.New(d, store.Options{Pipeline: p}), d
}

func advance(t *testing.T, l *store.Ledger) {
	fact := store.Fact{Pizza: event.PizzaID{Order: "nobody", Number: 1}, Step: "sauce", Body: []byte("{}")}
	errs, err := l.Advance(t.Context(), []store.Fact{fact})
	if err != nil || len(errs) != 1 || !errors.Is(errs[0], store.ErrNotFound) {
		t.Errorf("advance: %v, %v", errs, err)
	}
}

// A fact on an idle ledger is written at once; on a busy one it may wait for
// others, but never longer than the pace, and never keeps an order waiting.
func TestFactsKeepAPaceAndNobodyElseDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, d := blankLedger(t, func() { <-time.After(time.Millisecond) })
		defer func() { _ = l.Close() }()
		took := func(what func()) time.Duration {
			begin := time.Now()
			what()
			return time.Since(begin)
		}
		if got := took(func() { advance(t, l) }); got != time.Millisecond {
			t.Errorf("a fact on an idle ledger took %v", got)
		}
		if got := took(func() { advance(t, l) }); got != 4*time.Millisecond {
			t.Errorf("a fact right after another one took %v, want the rest of the pace and its commit", got)
		}
		if got := took(func() { _, _ = l.Lease(t.Context(), 1) }); got != time.Millisecond {
			t.Errorf("a lease right after a fact took %v", got)
		}
		before := d.commits.Load()
		done := make(chan struct{})
		for range 100 {
			go func() { advance(t, l); done <- struct{}{} }()
		}
		for range 100 {
			<-done
		}
		if n := d.commits.Load() - before; n != 1 {
			t.Errorf("100 facts that wait together were written in %d commits", n)
		}
	})
}

// A probe asks for an answer within a second; a commit that hangs must not
// keep it.
func TestCheckReturnsWhenItsContextEnds(t *testing.T) {
	release := make(chan struct{})
	l, _ := blankLedger(t, func() { <-release })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := l.Check(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("check: %v", err)
	}
	close(release)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// On a full disk the few bytes of a check may still fit where no order does.
func TestCheckRemembersACommitThatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := true
		l, d := blankLedger(t, func() {})
		d.fails = func() error {
			if full {
				return store.ErrUnavailable
			}
			return nil
		}
		defer func() { _ = l.Close() }()
		if _, err := l.Lease(t.Context(), 1); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("lease: %v", err)
		}
		full = false
		if err := l.Check(t.Context()); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("check right after a failed commit: %v", err)
		}
		advance(t, l)
		if err := l.Check(t.Context()); err != nil {
			t.Errorf("check after a commit that succeeded: %v", err)
		}
		full = true
		if err := l.Check(t.Context()); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("check that fails itself: %v", err)
		}
		full = false
		<-time.After(time.Minute)
		if err := l.Check(t.Context()); err != nil {
			t.Errorf("check a minute later: %v", err)
		}
	})
}
