package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

// What holds when several processes work on the ledger at once. On a database
// that one process has at a time they share its driver.
var processTests = []test{
	{"Processes/SameFactsAtOnce", sameFactsAtOnce},
	{"Processes/SameKeyAtOnce", sameKeyAtOnce},
	{"Processes/SameLetterAtOnce", sameLetterAtOnce},
	{"Processes/TwoRelays", twoRelays},
	{"Processes/DeadPeersLease", deadPeersLease},
	{"Processes/OthersCommitsWake", othersCommitsWake},
	{"Processes/EverythingAtOnce", everythingAtOnce},
}

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

// processesOf returns n processes on the fixture's bus, it included.
func (f *fixture) processesOf(n int, o store.Options) []*fixture {
	f.t.Helper()
	all := []*fixture{f}
	for i := 1; i < n; i++ {
		p := f.peer(fmt.Sprintf("%c", 'a'+i), o, f.p.Stages()...)
		// Processes on one machine start a moment apart, and so do their IDs.
		p.clock = f.clock.Add(time.Duration(i) * time.Millisecond)
		f.must(p.join(f.bus()))
		all = append(all, p)
	}
	return all
}

// sameFactsAtOnce delivers every fact to every process, as a group does whose
// partitions move to and fro.
func sameFactsAtOnce(f *fixture) {
	const pizzas, callers = 12, 4
	all := f.processesOf(2, store.Options{})
	orders := []string{f.place(pizzas), f.place(pizzas)}
	f.inParallel(len(all)*callers, func(i int) {
		p := all[i%len(all)]
		nth := func(n int) event.PizzaID { return pizza(orders[n/pizzas%2], n%pizzas+1) }
		for n := range 2 * pizzas {
			for s := range p.p.Steps() {
				step := p.p.Steps()[(s+i)%4]
				facts := []store.Fact{p.fact(nth(n), step, s), p.fact(nth(2*pizzas-1-n), step, s)}
				errs, err := p.l.Advance(p.ctx(), facts)
				if err != nil || errs != nil {
					p.t.Error(errs, err)
				}
			}
		}
	})
	for _, order := range orders {
		f.equal("status", f.order(order).Status(), store.Complete)
		f.equal("events", len(f.stream(order)), 5*pizzas)
	}
	f.equal("completed", f.totals().Completed, int64(2*pizzas))
	f.sound()
}

func sameKeyAtOnce(f *fixture) {
	const keys = 20
	all := f.processesOf(2, store.Options{})
	type answer struct {
		id      string
		created bool
	}
	answers := make([][keys]answer, 2*len(all))
	f.inParallel(len(answers), func(i int) {
		p := all[i%len(all)]
		for k := range keys {
			if i >= len(all) { // one of each process comes from the other end
				k = keys - 1 - k
			}
			o, created, err := p.l.PlaceOrder(p.ctx(), 3, fmt.Sprint("key ", k))
			if err != nil {
				p.t.Error(err)
			}
			answers[i][k] = answer{o.ID, created}
		}
	})
	for k := range keys {
		ids, creations := map[string]bool{}, 0
		for i := range answers {
			ids[answers[i][k].id] = true
			if answers[i][k].created {
				creations++
			}
		}
		if len(ids) != 1 || creations != 1 {
			f.t.Errorf("key %d gave %d orders, %d of them new", k, len(ids), creations)
		}
	}
	f.equal("ordered", f.totals().Ordered, int64(3*keys))
	_, _, err := all[1].l.PlaceOrder(f.ctx(), 4, "key 0")
	f.is("another count", err, store.ErrKeyReused)
	f.sound()
}

// sameLetterAtOnce adds one letter again and again, later copies among earlier
// ones. What it is in the end does not depend on who came when.
func sameLetterAtOnce(f *fixture) {
	const rounds = 8
	all := f.processesOf(2, store.Options{})
	order := f.place(1)
	for _, id := range []event.PizzaID{pizza(order, 1), pizza("nobody", 1)} {
		f.inParallel(2*len(all), func(i int) {
			p := all[i%len(all)]
			for round := range rounds {
				for n := range 2 { // two letters, in both orders
					d := p.letter(id, fmt.Sprint("stage", (n+i)%2), "sauce", store.KindPoison)
					d.Requeues = (round + i) % rounds
					d.FirstFailed, d.LastFailed = at(10+(round+i)%rounds), at(100+(round+i)%rounds)
					if err := p.l.AddDeadLetter(p.ctx(), d); err != nil {
						p.t.Error(err)
					}
				}
			}
		})
		for n := range 2 {
			got, err := f.l.DeadLetter(f.ctx(), f.letter(id, fmt.Sprint("stage", n), "sauce", store.KindPoison).ID)
			f.must(err)
			f.equal("requeues never fall", got.Requeues, rounds-1)
			f.equal("last failed", got.LastFailed, at(100+rounds-1))
		}
	}
	f.equal("dead-lettered once", f.order(order).DeadLettered, 1)
	f.equal("stream", f.stream(order), []string{"1 dead_letter 1"})
	f.sound()
}

func twoRelays(f *fixture) {
	all := f.processesOf(3, store.Options{})
	want := 0
	var orders []string
	for i := range 12 {
		count := 40 * (i + 1)
		orders = append(orders, f.place(count))
		want += count
	}
	var mu sync.Mutex
	sent := map[event.PizzaID]int{}
	f.inParallel(len(all), func(i int) {
		p := all[i]
		for {
			chunks, err := p.l.Lease(p.ctx(), 300)
			if err == nil {
				err = p.l.Dispatched(p.ctx(), chunks)
			}
			if err != nil {
				p.t.Error(err)
				return
			}
			mu.Lock()
			for _, c := range chunks {
				for _, n := range c.Numbers {
					sent[pizza(c.Order, n)]++
				}
			}
			done := len(sent) >= want
			mu.Unlock()
			if done {
				return
			}
			// Nothing leased: the others have it, and give it back or send it.
			if len(chunks) == 0 && p.totals().Undispatched == 0 {
				return
			}
		}
	})
	f.equal("dispatched", len(sent), want)
	for id, n := range sent {
		if n != 1 {
			f.t.Fatalf("pizza %s was dispatched %d times", id, n)
		}
	}
	for _, order := range orders {
		f.equal("cursor", f.order(order).Dispatched, f.order(order).Count)
	}
	f.sound()
}

func deadPeersLease(f *fixture) {
	const lease = 300 * time.Millisecond
	order := f.place(5)
	dead := f.processesOf(2, store.Options{LeaseFor: lease})[1]
	chunks := dead.lease(1000)
	f.equal("leased", short(chunks, order), []string{"0: 1-5 to 5"})
	f.equal("while it runs", f.lease(1000), []store.Chunk(nil))
	var again []store.Chunk
	f.eventually("the lease runs out", func() bool {
		again = f.lease(1000)
		return len(again) > 0
	})
	f.equal("made good", short(again, order), []string{"0: 1-5 to 5"})
	f.is("the dead one comes back", dead.l.Dispatched(f.ctx(), chunks), store.ErrLeaseLost)
	f.must(f.l.Dispatched(f.ctx(), again))
	f.equal("dispatched", f.order(order).Dispatched, 5)
	f.sound()
}

// eventually waits until what must come is true.
func (f *fixture) eventually(what string, is func() bool) {
	f.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for !is() {
		select {
		case <-tick.C:
		case <-end:
			f.t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func (f *fixture) woken(what string, c <-chan struct{}) {
	f.t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		f.t.Fatalf("%s: no signal", what)
	}
}

func othersCommitsWake(f *fixture) {
	order := f.place(1)
	f.dispatch(10)
	p := f.processesOf(2, store.Options{Poll: 20 * time.Millisecond})[1]
	one, stopOne := p.l.Watch(order)
	defer stopOne()
	all, stopAll := p.l.Watch("")
	defer stopAll()
	room, stopRoom := p.l.WatchDispatch()
	defer stopRoom()
	p.woken("first look", one)
	p.woken("first look", all)
	f.advance(f.fact(pizza(order, 1), "sauce", 1))
	p.woken("a fact", one)
	p.woken("a fact", all)
	p.equal("stream", len(p.stream(order)), 2)
	p.equal("nothing to dispatch", fired(room), false)
	f.place(1)
	p.woken("an order", room)
	p.woken("an order", all)
}

func everythingAtOnce(f *fixture) {
	const orders, count = 6, 15
	all := f.processesOf(3, store.Options{})
	ids := make([]string, orders)
	for i := range ids {
		ids[i] = all[i%len(all)].place(count)
	}
	f.inParallel(4*len(all), func(i int) {
		p := all[i%len(all)]
		for n := range orders * count {
			id := pizza(ids[(n+i)%orders], (n/orders+i)%count+1)
			var err error
			switch (n + i) % 5 {
			case 0:
				var chunks []store.Chunk
				chunks, err = p.l.Lease(p.ctx(), 7)
				err = errors.Join(err, p.l.Dispatched(p.ctx(), chunks))
			case 1:
				err = p.l.AddDeadLetter(p.ctx(), p.letter(id, "cheese", "sauce", store.KindExhausted))
			case 2:
				_, _, err = p.l.PlaceOrder(p.ctx(), 1, fmt.Sprint("key ", n%7))
			default:
				steps := slices.Clone(p.p.Steps())
				_, err = p.l.Advance(p.ctx(), []store.Fact{p.fact(id, steps[n%4], n), p.fact(id, steps[i%4], n)})
			}
			if err != nil {
				p.t.Error(err)
			}
		}
	})
	f.inParallel(len(all), func(i int) {
		for _, order := range ids {
			for n := 1; n <= count; n++ {
				all[i].bake(pizza(order, n))
			}
		}
	})
	for _, order := range ids {
		f.equal("status", f.order(order).Status(), store.Complete)
	}
	f.equal("ordered", f.totals().Ordered, int64(orders*count+7))
	f.sound()
}
