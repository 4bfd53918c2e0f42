package e2e

import (
	"context"
	"strings"
	"testing"
	"time"
)

// back bounds how long it may take after the end of a fault until new orders
// complete.
const back = 60 * time.Second

// TestSplitSurvives takes away, one after the other, everything that a split
// pizzamill stands on, while orders come in: each process, the broker, the
// database. In the end everything that was answered is there, once.
func TestSplitSurvives(t *testing.T) {
	t.Parallel()
	for bus, broker := range map[string]string{"kafka": "kafka", "amqp": "rabbitmq"} {
		t.Run(bus, func(t *testing.T) {
			t.Parallel()
			own := startOwn(t, broker, "postgres")
			o := &ordeal{cluster: own.cluster(bus, "postgres", unhurried), t: t, own: own, broker: broker, book: newBook(t)}
			// Two of cheese, so that one can do the work of the other.
			o.start("pizza", "ui", "journal", "deadletter", "sauce", "cheese", "cheese", "meat", "veggies")
			o.survive([]fault{
				{"kill -9 of every process in turn", o.killEach},
				{"SIGTERM of every process in turn", o.terminateEach},
				{"restart of the broker", func() { own.must("restart", broker) }},
				{"kill -9 of the broker", o.killBroker},
				{"restart of the database", func() { own.must("restart", "postgres") }},
				{"kill -9 of the database", o.killDatabase},
				{"a stage and the journal out of reach", o.pauseConsumers},
			})
			if n := len(o.book.answered); n < 60 {
				t.Errorf("only %d orders were taken: this showed little", n)
			}
		})
	}
}

// TestSplitOnSQLiteSurvives ends each process where one of them has the ledger in
// a file.
func TestSplitOnSQLiteSurvives(t *testing.T) {
	t.Parallel()
	if !full {
		t.Skip("LEFT OUT of short runs; make test runs it")
	}
	for _, bus := range []string{"kafka", "amqp"} {
		t.Run(bus, func(t *testing.T) {
			t.Parallel()
			o := &ordeal{cluster: newCluster(t, bus, "sqlite", unhurried), t: t, book: newBook(t)}
			o.start(ledgerModules, "sauce", "cheese", "meat", "veggies")
			o.survive([]fault{
				{"kill -9 of every process in turn", o.killEach},
				{"SIGTERM of every process in turn", o.terminateEach},
			})
		})
	}
}

// unhurried gives every stage something in hand when it ends.
const unhurried = "FAULTS_DELAY=sauce=100ms,cheese=100ms,meat=100ms,veggies=100ms"

// ordeal is a cluster that things are done to.
type ordeal struct {
	*cluster
	t      *testing.T
	own    *ownServers // nil: it is on those of all
	broker string      // the script's name for it
	book   *book
}

// fault is one thing that is done to it. It is over when inflict returns.
type fault struct {
	name    string
	inflict func()
}

// survive goes through faults under load and then audits everything.
func (o *ordeal) survive(faults []fault) {
	o.t.Helper()
	load := o.load(o.book, 80, 1200*time.Millisecond)
	samples := o.watchBalance(100 * time.Millisecond)
	for _, f := range faults {
		began := time.Now()
		f.inflict()
		o.wantBack(f.name, began)
	}
	load.stop()
	samples.stop()
	o.settled(o.book)
	o.wantNothingAmiss(samples)
}

// wantBack wants new orders to complete, of which there are enough for every
// partition, soon after a fault's end, which is now.
func (o *ordeal) wantBack(after string, before time.Time) {
	o.t.Helper()
	ended := time.Now()
	for _, s := range o.members {
		if !s.running() {
			o.t.Fatalf("after %s: %s has ended by itself\n%s", after, s.name(), tail(s.proc.errors()))
		}
	}
	var id string
	poll(o.t, back, "an order is taken after "+after, func() bool {
		id, _ = o.book.place(context.Background(), o.front(), request{count: 32})
		return id != ""
	})
	o.mustFinish(id, back-time.Since(ended))
	o.t.Logf("%s: took %s, and a new order was complete %s after its end", after,
		ended.Sub(before).Round(time.Millisecond), time.Since(ended).Round(time.Millisecond))
}

// killEach ends each process with an order on its way.
func (o *ordeal) killEach() {
	for _, s := range o.members {
		o.book.mustTake(o.front(), 40)
		s.kill()
		s.boot()
		s.awaitReady()
	}
}

func (o *ordeal) terminateEach() {
	for _, s := range o.members {
		o.book.mustTake(o.front(), 40)
		o.stop(s)
		s.boot()
		s.awaitReady()
	}
}

// killBroker takes orders while the broker is away, also with a process that
// has never seen it.
func (o *ordeal) killBroker() {
	o.own.must("kill9", o.broker)
	late := o.add("pizza")
	late.boot()
	late.awaitTaking()
	var ids []string
	for _, s := range []*server{o.members[0], o.members[1], late} {
		ids = append(ids, o.book.mustTake(s, 5))
	}
	if late.readyz(o.t) == "" {
		o.t.Errorf("%s: ready without its broker", late.name())
	}
	o.own.must("up", o.broker)
	for _, s := range o.members {
		s.awaitReady()
	}
	for _, id := range ids {
		o.mustFinish(id, back)
	}
}

// killDatabase wants that nobody is told that an order was taken while none can be.
func (o *ordeal) killDatabase() {
	o.own.must("kill9", "postgres")
	for _, s := range o.fronts() {
		o.book.place(context.Background(), s, request{count: 5, key: "no database: " + s.main})
	}
	o.own.must("up", "postgres")
	for _, s := range o.members {
		s.awaitReady()
	}
}

// pauseConsumers stops a stage and the journal as a debugger does, for longer
// than the broker has patience, which is when the other process of the stage
// has done all the work. Then they go on where they were.
func (o *ordeal) pauseConsumers() {
	cheese, journal := o.with("cheese")[0], o.with("journal")[0]
	cheese.pause()
	journal.pause()
	id := o.book.mustTake(o.front(), 120)
	o.mustFinish(id, 90*time.Second)
	poll(o.t, back, "the broker has given up the journal", func() bool { return !o.front().sees("journal") })
	cheese.resume()
	journal.resume()
	for _, s := range []*server{cheese, journal} {
		s.awaitReady()
	}
}

// sees reports whether the broker has a consumer of a module, as a process tells.
func (s *server) sees(module string) bool {
	s.t.Helper()
	var topology struct {
		Modules []struct {
			Name    string `json:"name"`
			Running bool   `json:"running"`
		} `json:"modules"`
	}
	s.mustGet(s.admin, "/api/topology", &topology)
	for _, m := range topology.Modules {
		if m.Name == module {
			return m.Running
		}
	}
	s.t.Fatalf("%s tells of no module %s", s.name(), module)
	return false
}

// wantNothingAmiss audits everything, from outside and in the rows.
func (o *ordeal) wantNothingAmiss(samples *balance) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	a := newAudit(o.front(), o.book)
	if err := a.run(ctx); err != nil {
		o.t.Fatalf("audit: %v\n%s", err, a.summary())
	}
	if len(a.findings) > 0 {
		o.t.Errorf("audit: %s", a.summary())
	}
	o.wantNoLetters()
	o.wantCleanRows()
	o.front().awaitNoLag()
	if samples.samples < 10 || len(samples.findings) > 0 {
		o.t.Errorf("%d samples of the metrics, of which these do not add up: %s", samples.samples, strings.Join(samples.findings, "\n"))
	}
	o.stop(o.members...)
	o.t.Logf("%d orders for %d pizzas, %d refused, %d samples of the metrics", len(o.book.answered), o.book.pizzas(), o.book.refused, samples.samples)
}
