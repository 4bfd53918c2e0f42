package storetest

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/store"
)

var busTests = []test{
	{"Bus/WaitsForTheLiving", waitsForTheLiving},
	{"Bus/TakesOverFromTheDead", takesOverFromTheDead},
	{"Bus/OutageIsNobodysDeath", outageIsNobodysDeath},
	{"Bus/DeathIsNoticedInTime", deathNoticedInTime},
	{"Bus/LeftBehind", leftBehind},
	{"Bus/PeerKeepsItsLeases", peerKeepsItsLeases},
	{"Bus/OwnBusBecomesAnother", ownBusBecomesAnother},
	{"Bus/NoLeaseWhileItIsDecided", noLeaseWhileDecided},
	{"Bus/OneOfManyStarts", oneOfManyStarts},
	{"Bus/AnotherPipelineIsRefused", anotherPipelineRefused},
	{"Bus/InMemoryLeavesNothing", inMemoryLeavesNothing},
	{"Bus/WhoHasTheLockVoidsTheDead", lockVoidsTheDead},
	{"Bus/RenewWritesTheRowAgain", renewWritesAgain},
	{"Bus/LeaveIsFinal", leaveIsFinal},
	{"Bus/DeadAreForgotten", deadAreForgotten},
}

var stages = []string{"sauce", "cheese", "meat"}

// soon is an option under which every process is dead at once.
var soon = store.Options{AliveFor: 1}

// waitsFor checks that a start waits for processes on a bus.
func (f *fixture) waitsFor(err error, bus string, processes ...string) {
	f.t.Helper()
	var other *store.OtherBusError
	if !errors.As(err, &other) {
		f.t.Fatalf("start: %v, want to wait", err)
	}
	f.equal("waits for", *other, store.OtherBusError{Bus: bus, Processes: processes})
}

// processes are in short: "a kafka//1", and "dead" behind those that are.
func (f *fixture) processes() (out []string) {
	f.t.Helper()
	processes, err := f.l.Processes(f.ctx())
	f.must(err)
	for _, p := range processes {
		text := p.ID + " " + p.Bus
		if !p.Alive {
			text += " dead"
		}
		if p.Name != "process "+p.ID || p.RenewedAt.IsZero() {
			f.t.Errorf("process %+v", p)
		}
		out = append(out, text)
	}
	return out
}

func (f *fixture) onBus(want string) {
	f.t.Helper()
	bus, err := f.l.Bus(f.ctx())
	f.must(err)
	f.equal("the ledger's bus", bus, want)
}

func (f *fixture) cannotLease() {
	f.t.Helper()
	chunks, err := f.l.Lease(f.ctx(), 1000)
	f.is("lease", err, store.ErrLeftBehind)
	f.equal("leased", chunks, []store.Chunk(nil))
}

func waitsForTheLiving(f *fixture) {
	order := f.place(300)
	f.dispatch(1000)
	b := f.peer("b", store.Options{}, stages...)
	b.cannotLease() // has not started at all
	f.equal("dispatched", f.order(order).Dispatched, 256)
	for range 2 {
		f.waitsFor(b.join("amqp//2"), f.bus(), "process a")
		f.equal("both are seen", f.processes(), []string{"a " + f.bus(), "b amqp//2"})
		f.onBus(f.bus())
		b.cannotLease()
		f.must(f.l.Renew(f.ctx()))
	}
	f.equal("nothing starts again", f.order(order).Dispatched, 256)
	f.equal("work goes on", f.dispatch(1000), 44)
	f.must(f.l.Leave(f.ctx()))
	f.must(b.join("amqp//2"))
	f.onBus("amqp//2")
	f.equal("starts again", b.dispatch(1000), 256)
	f.sound()
}

func takesOverFromTheDead(f *fixture) {
	order := f.place(600)
	f.dispatch(1000)
	f.bake(pizza(order, 3))
	chunks := f.lease(1000)
	b := f.peer("b", soon, stages...)
	f.must(b.join("amqp//2"))
	f.equal("processes", b.processes(), []string{"a " + f.bus() + " dead", "b amqp//2 dead"})
	f.is("token of before", f.l.Dispatched(f.ctx(), chunks), store.ErrLeaseLost)
	f.equal("dispatched", f.order(order).Dispatched, 0)
	f.equal("what is done stays done", numbersOf(b.lease(4)), []int{1, 2, 4, 5})
	buses, err := f.l.Buses(f.ctx())
	f.must(err)
	for i := range buses {
		if since := time.Since(buses[i].StartedAt).Abs(); since > time.Hour {
			f.t.Errorf("started at %s", buses[i].StartedAt)
		}
		buses[i].StartedAt = time.Time{}
	}
	f.equal("buses", buses, []store.Bus{
		{Identity: "amqp//2", Driver: "amqp", Stages: stages, Current: true},
		{Identity: f.bus(), Driver: "kafka", Prefix: strings.Join(stages, "+"), Stages: stages},
	})
	f.sound()
}

// While the database is away nobody can renew a row. When it is back, a process
// that waits for a takeover may be the first one to ask.
func outageIsNobodysDeath(f *fixture) {
	old := f.bus()
	b := f.peer("b", store.Options{}, stages...)
	f.waitsFor(b.join("amqp//2"), old, "process a")
	c := f.peer("c", store.Options{}, stages...) // has not asked before
	pass := func(d time.Duration) {
		for _, p := range []*fixture{f, b, c} {
			p.spy.pass(d)
		}
	}
	for _, outage := range []time.Duration{store.ProcessLife, 40 * time.Second, time.Hour} {
		pass(outage)
		for range 3 {
			f.waitsFor(b.join("amqp//2"), old, "process a")
			f.waitsFor(c.join("amqp//3"), old, "process a")
			pass(store.RenewEvery - time.Millisecond)
		}
		f.must(f.l.Renew(f.ctx()))
		for range 5 {
			pass(store.RenewEvery)
			f.waitsFor(b.join("amqp//2"), old, "process a")
		}
	}
	// One that stops says so, and nobody has to guess.
	pass(time.Hour)
	f.waitsFor(b.join("amqp//2"), old, "process a")
	f.must(f.l.Leave(f.ctx()))
	f.must(c.join("amqp//3"))
	f.onBus("amqp//3")
}

// A process that died is given up as soon as its row has run out by who had it in
// sight, and soon after by who comes later.
func deathNoticedInTime(f *fixture) {
	takesOver := func(p *fixture, bus string) (after time.Duration) {
		for p.join(bus) != nil {
			p.spy.pass(store.RenewEvery)
			if after += store.RenewEvery; after > time.Minute {
				f.t.Fatalf("%s has not taken over after a minute", p.name)
			}
		}
		return after
	}
	b := f.peer("b", store.Options{}, stages...)
	f.equal("taken over", takesOver(b, "amqp//2"), store.ProcessLife)
	c := f.peer("c", store.Options{}, stages...)
	c.spy.pass(time.Hour)
	f.equal("taken over by one that comes later", takesOver(c, "amqp//3"), store.ProcessLife/2)
}

// A process on the bus that the ledger has left does no harm: what it takes is
// dispatched by the others, and what it still sees is true.
func leftBehind(f *fixture) {
	order := f.place(2)
	f.dispatch(1000)
	b := f.peer("b", soon, stages...)
	f.must(b.join("amqp//2"))
	f.cannotLease()
	f.is("renew", f.l.Renew(f.ctx()), store.ErrLeftBehind)
	f.equal("but is seen", f.processes(), []string{"a " + f.bus(), "b amqp//2"})
	late := f.place(3)
	f.cannotLease()
	f.equal("by the other one", b.dispatch(1000), 5)
	f.bake(pizza(order, 1))
	f.bake(pizza(late, 1))
	f.equal("facts are facts", b.totals().Completed, int64(2))
	f.is("renew", f.l.Renew(f.ctx()), store.ErrLeftBehind)
	f.sound()
}

func peerKeepsItsLeases(f *fixture) {
	order := f.place(600)
	chunks := f.lease(256)
	b := f.peer("b", store.Options{}, stages...)
	f.must(b.join(f.bus()))
	f.equal("leased already", b.lease(1000), []store.Chunk(nil))
	f.must(f.l.Dispatched(f.ctx(), chunks))
	f.equal("in turns", short(b.lease(1000), order), []string{"0: 257-512 to 512"})
	f.equal("nobody waits", f.processes(), []string{"a " + f.bus(), "b " + f.bus()})
}

// The broker behind the same address has become another one. Nobody waits for
// itself, and all wait until the last one has noticed.
func ownBusBecomesAnother(f *fixture) {
	order := f.place(2)
	f.dispatch(1000)
	b := f.peer("b", store.Options{}, stages...)
	f.must(b.join(f.bus()))
	f.waitsFor(f.join("kafka//2"), f.bus(), "process b")
	f.cannotLease()
	f.equal("moved along", f.processes(), []string{"a kafka//2", "b " + f.bus()})
	f.must(b.join("kafka//2"))
	f.equal("starts again", b.dispatch(1000), 2)
	f.must(f.join("kafka//2"))
	f.equal("once", f.order(order).Dispatched, 2)
	f.must(f.l.Leave(f.ctx()))
	f.must(b.join("kafka//3")) // alone
	f.onBus("kafka//3")
	f.equal("starts again", b.dispatch(1000), 2)
}

// An order comes while another process takes the ledger over: it must not be
// leased for the bus that the ledger is leaving, or it would stay there.
func noLeaseWhileDecided(f *fixture) {
	b := f.peer("b", soon, stages...)
	leased := make(chan error, 1)
	b.spy.setOpened(func() { // open orders have been read
		go func() {
			_, _, err := f.l.PlaceOrder(f.ctx(), 1, "")
			if err == nil {
				_, err = f.l.Lease(f.ctx(), 1)
			}
			leased <- err
		}()
		select {
		case err := <-leased:
			leased <- err
		case <-time.After(100 * time.Millisecond): // it waits, as it should
		}
	})
	f.must(b.join("amqp//2"))
	f.is("lease", <-leased, store.ErrLeftBehind)
	f.equal("on the new bus", b.dispatch(1000), 1)
}

func oneOfManyStarts(f *fixture) {
	f.place(5)
	f.dispatch(1000)
	f.must(f.l.Leave(f.ctx()))
	const n = 4
	peers := make([]*fixture, n)
	for i := range peers {
		peers[i] = f.peer(fmt.Sprint(i), store.Options{}, stages...)
	}
	errs := make([]error, n)
	f.inParallel(n, func(i int) { errs[i] = peers[i].join(fmt.Sprintf("kafka//%d", i)) })
	winner := -1
	for i, err := range errs {
		if err != nil {
			continue
		}
		if winner >= 0 {
			f.t.Fatalf("%d and %d have taken the ledger over", winner, i)
		}
		winner = i
	}
	if winner < 0 {
		f.t.Fatalf("nobody took the ledger over: %v", errs)
	}
	bus := fmt.Sprintf("kafka//%d", winner)
	f.equal("starts again", peers[winner].dispatch(1000), 5)
	for i, p := range peers {
		if i != winner {
			f.waitsFor(errs[i], bus, "process "+fmt.Sprint(winner))
		}
		f.must(p.l.Leave(f.ctx()))
	}
	f.inParallel(n, func(i int) { errs[i] = peers[i].join("kafka//all") })
	f.must(errors.Join(errs...))
	f.equal("started again once", peers[0].dispatch(1000)+peers[1].dispatch(1000), 5)
	f.sound()
}

func anotherPipelineRefused(f *fixture) {
	identity := f.bus()
	refused := func(p *fixture, err error) {
		f.t.Helper()
		var e *bus.PipelineError
		if !errors.As(err, &e) {
			f.t.Fatalf("start: %v, want another pipeline", err)
		}
		f.equal("pipeline", *e, bus.PipelineError{Bus: identity, Have: "sauce,cheese,meat", Want: "crust,sauce,cheese,meat"})
		f.equal("written", p.spy.take(), []sizes(nil))
		p.cannotLease()
	}
	b := f.peer("b", soon, "crust", "sauce", "cheese", "meat")
	before := f.processes()
	refused(b, b.join(identity))
	f.equal("processes", f.processes(), before)
	f.must(b.join("kafka/other/1"))
	b.spy.take()
	refused(b, b.join(identity)) // its topics and groups still have records of then
	f.onBus("kafka/other/1")
	f.equal("processes", f.processes(), []string{"a " + identity, "b kafka/other/1"})

	f.must(b.l.Leave(f.ctx()))
	f.must(f.join(identity)) // back, with the pipeline of then
	f.onBus(identity)
}

func inMemoryLeavesNothing(f *fixture) {
	f.must(f.l.Leave(f.ctx()))
	for i, pipeline := range [][]string{stages, {"crust", "sauce"}, {"sauce"}} {
		b := f.peer(fmt.Sprint(i), store.Options{}, pipeline...)
		order := b.place(1)
		f.must(b.join(fmt.Sprintf("gochannel//%d", i)))
		f.must(b.join(fmt.Sprintf("gochannel//%d", i)))
		b.onBus(fmt.Sprintf("gochannel//%d", i))
		b.dispatch(1000)
		f.equal("dispatched", b.order(order).Dispatched, 1)
		f.must(b.l.Leave(f.ctx()))
	}
	buses, err := f.l.Buses(f.ctx())
	f.must(err)
	f.equal("remembered", len(buses), 1)
	f.equal("remembered", buses[0].Identity, f.bus())
	f.sound()
}

func lockVoidsTheDead(f *fixture) {
	f.must(f.l.Leave(f.ctx()))
	alone := func(name, bus string) (*fixture, error) {
		p := f.peer(name, store.Options{}, stages...)
		self := p.process(bus)
		self.Alone = true
		return p, p.l.Start(f.ctx(), self)
	}
	_, err := alone("b", "gochannel//b")
	f.must(err)
	order := f.place(3)
	c, err := alone("c", "gochannel//c") // b did not leave, but has lost the lock
	f.must(err)
	f.equal("processes", f.processes(), []string{"c gochannel//c"})
	chunks := c.lease(1000)
	d, err := alone("d", "gochannel//d")
	f.must(err)
	f.is("lease of the dead", c.l.Dispatched(f.ctx(), chunks), store.ErrLeaseLost)
	f.equal("leased", short(d.lease(1000), order), []string{"0: 1-3 to 3"})

	// A process that needs no lock is waited for all the same.
	f.must(d.l.Leave(f.ctx()))
	f.must(f.join("kafka//1"))
	_, err = alone("e", "gochannel//e")
	f.waitsFor(err, "kafka//1", "process a")
}

func renewWritesAgain(f *fixture) {
	f.must(f.spy.Update(f.ctx(), func(tx store.Tx) error {
		return tx.Write(&store.Changes{GoneProcess: []string{"a", "nobody"}})
	}))
	f.equal("gone", f.processes(), []string(nil))
	f.must(f.l.Renew(f.ctx()))
	f.equal("there again", f.processes(), []string{"a " + f.bus()})
}

func leaveIsFinal(f *fixture) {
	f.place(1)
	f.must(f.l.Leave(f.ctx()))
	f.must(f.l.Leave(f.ctx()))
	f.is("a late renewal", f.l.Renew(f.ctx()), store.ErrLeftBehind)
	f.equal("gone", f.processes(), []string(nil))
	f.cannotLease()
	f.onBus(f.bus())
}

func deadAreForgotten(f *fixture) {
	f.must(f.spy.Update(f.ctx(), func(tx store.Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		hours := func(n int64) int64 { return now - n*time.Hour.Milliseconds() }
		return tx.Write(&store.Changes{Processes: []*store.ProcessRow{
			{ID: "old", Name: "process old", Bus: "kafka//0", RenewedAt: hours(25)},
			{ID: "young", Name: "process young", Bus: "kafka//0", RenewedAt: hours(23)},
		}})
	}))
	f.must(f.join("kafka//2"))
	f.equal("processes", f.processes(), []string{"a kafka//2", "young kafka//0 dead"})
}
