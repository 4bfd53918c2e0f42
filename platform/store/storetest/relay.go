package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/pizzamill/pizzamill/platform/store"
)

var relayTests = []test{
	{"Relay/NumbersOnce", relayOnce},
	{"Relay/FairTurns", relayTurns},
	{"Relay/GivenBack", givenBack},
	{"Relay/Window", relayWindow},
	{"Relay/LeaseIsExclusive", leaseExclusive},
	{"Relay/LeaseRunsOut", leaseRunsOut},
	{"Relay/DoneAreLeftOut", doneLeftOut},
	{"Relay/SameBus", sameBus},
	{"Relay/AnotherBus", anotherBus},
	{"Relay/Watch", watchDispatch},
	{"Relay/ThousandsOfOrders", manyOrders},
	{"Relay/BusyOrderIsNotPassedOver", busyOrder},
}

func (f *fixture) lease(want int) []store.Chunk {
	f.t.Helper()
	chunks, err := f.l.Lease(f.ctx(), want)
	f.must(err)
	return chunks
}

func (f *fixture) dispatch(want int) (numbers int) {
	f.t.Helper()
	chunks := f.lease(want)
	for _, c := range chunks {
		numbers += len(c.Numbers)
	}
	f.must(f.l.Dispatched(f.ctx(), chunks))
	return numbers
}

// numbersOf are all numbers of chunks.
func numbersOf(chunks []store.Chunk) (numbers []int) {
	for _, c := range chunks {
		numbers = append(numbers, c.Numbers...)
	}
	return numbers
}

// short is a lease in short: each chunk as order's place, first and last number, and cursor.
func short(chunks []store.Chunk, orders ...string) (out []string) {
	for _, c := range chunks {
		i := slices.Index(orders, c.Order)
		out = append(out, fmt.Sprintf("%d: %d-%d to %d", i, c.Numbers[0], c.Numbers[len(c.Numbers)-1], c.To))
	}
	return out
}

func relayOnce(f *fixture) {
	order := f.place(300)
	f.equal("nothing wanted", f.lease(0), []store.Chunk(nil))
	chunks := f.lease(1000)
	f.equal("first", short(chunks, order), []string{"0: 1-256 to 256"})
	f.equal("undispatched", f.totals().Undispatched, int64(300))
	f.must(f.l.Dispatched(f.ctx(), chunks))
	f.equal("undispatched", f.totals().Undispatched, int64(44))
	f.equal("dispatched", f.order(order).Dispatched, 256)
	chunks = f.lease(10)
	f.equal("want bounds it", short(chunks, order), []string{"0: 257-266 to 266"})
	f.must(f.l.Dispatched(f.ctx(), chunks))
	f.equal("the rest", f.dispatch(1000), 34)
	f.spy.take()
	f.equal("nothing is left", f.lease(1000), []store.Chunk(nil))
	f.equal("an empty lease writes nothing", f.spy.take(), []sizes(nil))
	f.sound()
}

func relayTurns(f *fixture) {
	big, small := f.place(1000), f.place(3)
	first := f.lease(100)
	f.equal("first turn", short(first, big, small), []string{"0: 1-100 to 100"})
	f.must(f.l.Dispatched(f.ctx(), first))
	late := f.place(2)
	second := f.lease(1000)
	f.equal("second turn", short(second, big, small, late), []string{"1: 1-3 to 3", "0: 101-356 to 356", "2: 1-2 to 2"})
	f.must(f.l.Dispatched(f.ctx(), second))
	f.sound()
}

// givenBack has an outage between lease and dispatch: who waited longest is first
// after it.
func givenBack(f *fixture) {
	old, late := f.place(3), f.place(2)
	for range 3 {
		chunks := f.lease(3)
		f.equal("leased", short(chunks, old, late), []string{"0: 1-3 to 3"})
		for i := range chunks {
			chunks[i].To = 0
		}
		f.must(f.l.Dispatched(f.ctx(), chunks))
	}
	chunks := f.lease(100)
	f.equal("in the order of waiting", short(chunks, old, late), []string{"0: 1-3 to 3", "1: 1-2 to 2"})
	f.must(f.l.Dispatched(f.ctx(), chunks))
	f.equal("dispatched", f.order(old).Dispatched+f.order(late).Dispatched, 5)
	f.sound()
}

func relayWindow(f *fixture) {
	order := f.place(10_000)
	sent := 0
	for n := f.dispatch(1000); n > 0; n = f.dispatch(1000) {
		sent += n
	}
	f.equal("in flight at most", sent, store.Window)
	var facts []store.Fact
	for n := 1; n < store.ChunkSize; n++ {
		facts = append(facts, f.fact(pizza(order, n), "meat", 1))
	}
	f.advance(facts...)
	f.equal("no room for a chunk yet", f.dispatch(1000), 0)
	f.advance(f.fact(pizza(order, store.ChunkSize), "meat", 1))
	f.equal("room again", f.dispatch(1000), store.ChunkSize)
	f.equal("an order behind it does not wait", len(f.place(3)) > 0 && f.dispatch(1000) == 3, true)
	f.sound()
}

func leaseExclusive(f *fixture) {
	order := f.place(600)
	chunks := f.lease(1000)
	f.equal("leased twice", f.lease(1000), []store.Chunk(nil))
	forged := chunks[0]
	forged.Token = "forged"
	f.is("forged token", f.l.Dispatched(f.ctx(), []store.Chunk{forged}), store.ErrLeaseLost)
	f.must(f.l.Dispatched(f.ctx(), chunks))
	f.is("used token", f.l.Dispatched(f.ctx(), chunks), store.ErrLeaseLost)
	f.is("unknown order", f.l.Dispatched(f.ctx(), []store.Chunk{{Order: "nobody"}}), store.ErrNotFound)
	f.equal("dispatched", f.order(order).Dispatched, 256)
	f.sound()
}

func leaseRunsOut(f *fixture) {
	f.restart(store.Options{LeaseFor: 1}, f.p.Stages()...) // over before the next call
	order, other := f.place(5), f.place(5)
	first := f.lease(1000)
	f.equal("first", short(first, order, other), []string{"0: 1-5 to 5", "1: 1-5 to 5"})
	second := f.lease(5)
	f.equal("again", short(second, order), []string{"0: 1-5 to 5"})
	f.is("first comes late", f.l.Dispatched(f.ctx(), first), store.ErrLeaseLost)
	f.equal("not moved", f.order(order).Dispatched, 0)
	f.equal("nobody took the other one", f.order(other).Dispatched, 5)
	f.must(f.l.Dispatched(f.ctx(), second))
	f.equal("moved", f.order(order).Dispatched, 5)
	f.sound()
}

func doneLeftOut(f *fixture) {
	order := f.place(9)
	f.bake(pizza(order, 2))
	f.bury(f.letter(pizza(order, 8), "cheese", "sauce", store.KindPoison))
	f.equal("undispatched", f.totals().Undispatched, int64(7))
	chunks := f.lease(4)
	f.equal("chunk", chunks[0].Numbers, []int{1, 3, 4, 5})
	f.equal("cursor", chunks[0].To, 5)
	f.bake(pizza(order, 3)) // faster than the cursor
	f.sound()
	f.must(f.l.Dispatched(f.ctx(), chunks))
	f.sound()
	f.equal("undispatched", f.totals().Undispatched, int64(3))
	chunks = f.lease(100)
	f.equal("chunk", chunks[0].Numbers, []int{6, 7, 9})
	f.must(f.l.Dispatched(f.ctx(), chunks))
	f.equal("undispatched", f.totals().Undispatched, int64(0))
	f.sound()
}

func sameBus(f *fixture) {
	order := f.place(300)
	f.dispatch(1000)
	f.lease(1000)
	f.restart(store.Options{}, f.p.Stages()...)
	f.equal("dispatched", f.order(order).Dispatched, 256)
	f.equal("leases of who may live run on", f.lease(1000), []store.Chunk(nil))
	alone := f.process(f.bus())
	alone.Alone = true
	f.must(f.l.Start(f.ctx(), alone))
	f.equal("leases of who was before are void", short(f.lease(1000), order), []string{"0: 257-300 to 300"})
	f.sound()
}

func anotherBus(f *fixture) {
	order, done := f.place(600), f.place(1)
	for f.dispatch(1000) > 0 {
	}
	f.bake(pizza(done, 1))
	var want []int
	for n := 1; n <= 600; n++ {
		switch {
		case n%100 == 0:
			f.bury(f.letter(pizza(order, n), "cheese", "sauce", store.KindExhausted))
		case n > 5 && n <= 500:
			f.bake(pizza(order, n))
		default:
			f.advance(f.fact(pizza(order, n), "sauce", 1))
			want = append(want, n)
		}
	}
	before := f.order(order)
	f.must(f.join("amqp//2"))
	after := f.order(order)
	before.Dispatched = 0
	f.equal("only the cursor moved", after, before)
	f.equal("a done order stays", f.order(done).Dispatched, 1)
	f.equal("undispatched", f.totals().Undispatched, int64(len(want)))
	f.sound()
	var again []int
	for chunks := f.lease(1000); len(chunks) > 0; chunks = f.lease(1000) {
		for _, c := range chunks {
			again = append(again, c.Numbers...)
		}
		f.must(f.l.Dispatched(f.ctx(), chunks))
		f.sound()
	}
	f.equal("baked again", again, want)
	f.must(f.join("amqp//2"))
	f.equal("nothing more", f.lease(1000), []store.Chunk(nil))
}

func watchDispatch(f *fixture) {
	c, stop := f.l.WatchDispatch()
	defer stop()
	order := f.place(5000)
	f.equal("new order", fired(c), true)
	for f.dispatch(1000) > 0 {
	}
	fired(c)
	var facts []store.Fact
	for n := 1; n <= store.ChunkSize; n++ {
		facts = append(facts, f.fact(pizza(order, n), "meat", 1))
	}
	f.advance(facts[1:]...)
	f.equal("window is full", fired(c), false)
	f.advance(facts[0])
	f.equal("window has room", fired(c), true)
	f.must(f.join("amqp//2"))
	f.equal("started again", fired(c), true)
	stop()
	f.place(1)
	f.equal("stopped", fired(c), false)
}

// Thousands of orders wait: what the relay asks for must not look at all of them.
func manyOrders(f *fixture) {
	const orders = 3000
	for range orders / 100 {
		f.inParallel(100, func(int) {
			if _, _, err := f.l.PlaceOrder(f.ctx(), 2, ""); err != nil {
				f.t.Error(err)
			}
		})
	}
	turns := 0
	for n := f.dispatch(512); n > 0; n = f.dispatch(512) {
		f.equal("numbers", n, min(512, 2*orders-turns*512))
		turns++
	}
	f.equal("undispatched", f.totals().Undispatched, int64(0))
	f.sound()
}

// Under load somebody always writes to a big order. A relay that took only what
// nobody has locked would hardly ever get it.
func busyOrder(f *fixture) {
	order := f.place(300)
	journal := f.peer("b", store.Options{}, f.p.Stages()...)
	entered, release := journal.spy.hold(nil)
	defer release()
	done := make(chan struct{})
	go func() {
		defer close(done)
		journal.advance(journal.fact(pizza(order, 1), "pizza", 1))
	}()
	<-entered
	leased := make(chan []store.Chunk, 1)
	go func() {
		chunks, err := f.l.Lease(f.ctx(), 1000)
		if err != nil {
			f.t.Error(err)
		}
		leased <- chunks
	}()
	select {
	case chunks := <-leased:
		f.t.Errorf("leased %v while the order was locked", chunks)
		leased <- chunks
	case <-time.After(100 * time.Millisecond): // it waits, as it should
	}
	release()
	<-done
	f.equal("leased", short(<-leased, order), []string{"0: 1-256 to 256"})
}
