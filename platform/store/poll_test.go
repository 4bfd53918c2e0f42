package store_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

// otherDriver is a database that another process writes to.
type otherDriver struct {
	store.Driver
	mu     sync.Mutex
	looks  [][]string // the orders that each look asked for
	orders map[string]store.OrderRow
	totals map[string]int64
	err    error
}

func (d *otherDriver) View(_ context.Context, fn func(store.ReadTx) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return d.err
	}
	return fn(otherTx{d: d})
}

type otherTx struct {
	store.ReadTx
	d *otherDriver
}

func (t otherTx) Orders(ids []string) (rows []store.OrderRow, err error) {
	t.d.looks = append(t.d.looks, slices.Sorted(slices.Values(ids)))
	for _, id := range ids {
		if row, ok := t.d.orders[id]; ok {
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func (t otherTx) Totals() (map[string]int64, error) { return t.d.totals, nil }

// commit is what the other process commits.
func (d *otherDriver) commit(order string, event int64, totals map[string]int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.orders[order] = store.OrderRow{ID: order, LastEvent: event}
	d.totals = totals
}

func (d *otherDriver) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

func (d *otherDriver) taken() [][]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	looks := d.looks
	d.looks = nil
	return looks
}

const every = 250 * time.Millisecond

func pollingLedger(t *testing.T) (*store.Ledger, *otherDriver) {
	t.Helper()
	p, err := event.NewPipeline("sauce")
	if err != nil {
		t.Fatal(err)
	}
	d := &otherDriver{orders: map[string]store.OrderRow{}}
	return store.New(d, store.Options{Pipeline: p, Poll: every}), d
}

func tick() {
	<-time.After(every)
	synctest.Wait()
}

func has(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestOthersCommitsWakeTheirWatchersAndNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, d := pollingLedger(t)
		defer func() { _ = l.Close() }()
		d.commit("a", 1, map[string]int64{"ordered": 5, "undispatched": 5})
		a, stopA := l.Watch("a")
		b, stopB := l.Watch("b")
		all, stopAll := l.Watch("")
		room, stopRoom := l.WatchDispatch()
		for _, stop := range []func(){stopA, stopB, stopAll, stopRoom} {
			defer stop()
		}
		check := func(what string, want ...bool) {
			t.Helper()
			tick()
			if got := []bool{has(a), has(b), has(all), has(room)}; !slices.Equal(got, want) {
				t.Errorf("%s: order, other order, any, dispatch got %v, want %v", what, got, want)
			}
		}
		check("first look", true, false, true, true)
		check("nothing new", false, false, false, false)
		d.commit("a", 2, map[string]int64{"ordered": 5, "undispatched": 5, "unfinished:sauce": 1})
		check("a fact", true, false, true, false)
		d.commit("b", 1, map[string]int64{"ordered": 9, "undispatched": 9})
		check("an order", false, true, true, true)
		d.commit("a", 3, map[string]int64{"ordered": 9, "undispatched": 9, "completed": 1})
		check("something done makes room", true, false, true, true)
		d.commit("a", 3, map[string]int64{"ordered": 9, "undispatched": 4, "completed": 1})
		check("a lease given back", false, false, true, true)
		d.commit("a", 4, map[string]int64{"ordered": 9, "completed": 2})
		check("nothing left to dispatch", true, false, true, false)
		d.fail(errors.New("away"))
		d.commit("a", 5, map[string]int64{"ordered": 9, "completed": 3})
		check("away", false, false, false, false)
		d.fail(nil)
		check("back", true, false, true, false)
	})
}

func TestNobodyLooksForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, d := pollingLedger(t)
		tick()
		if looks := d.taken(); looks != nil {
			t.Errorf("looked for %q while nobody watched", looks)
		}
		var stops []func()
		for range 1000 { // many watchers are one question
			for _, order := range []string{"a", "b"} {
				_, stop := l.Watch(order)
				stops = append(stops, stop)
			}
		}
		tick()
		tick()
		if looks := d.taken(); len(looks) != 2 || !slices.Equal(looks[0], []string{"a", "b"}) {
			t.Errorf("looked for %q", looks)
		}
		for _, stop := range stops {
			stop()
		}
		tick()
		tick()
		if looks := d.taken(); looks != nil {
			t.Errorf("looked for %q after everybody had gone", looks)
		}
		c, stop := l.Watch("a")
		defer stop()
		d.commit("a", 1, nil)
		tick()
		if !has(c) {
			t.Error("a watcher that came later was not woken")
		}
		if err := l.Close(); err != nil { // ends the goroutine, or the test would hang
			t.Error(err)
		}
		_, again := l.Watch("a")
		defer again()
		tick()
		if looks := d.taken(); len(looks) > 1 {
			t.Errorf("looked for %q after the ledger was closed", looks)
		}
	})
}
