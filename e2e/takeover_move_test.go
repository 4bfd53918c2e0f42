package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// move is one way to take a ledger to another bus.
type move struct {
	name          string
	from, to      string                      // buses
	store         string                      // of both
	stages        []string                    // of the new pipeline; nil: the same
	elsewhere     func(t *testing.T) []string // settings of the new cluster beside its own
	samePrefix    bool                        // only driver, cluster or vhost are others
	stagesOutlive bool                        // those of the old bus go on running
	short         bool                        // also in a run that is not full
}

// crusted is the default pipeline with crust in front.
var crusted = append([]string{"crust"}, pipeline...)

var moves = []move{
	{name: "from Kafka to RabbitMQ", from: "kafka", to: "amqp", store: "postgres", samePrefix: true},
	{name: "from RabbitMQ to Kafka", from: "amqp", to: "kafka", store: "sqlite", samePrefix: true, short: true},
	{name: "to another prefix on Kafka", from: "kafka", to: "kafka", store: "postgres", stagesOutlive: true},
	{name: "to another prefix on RabbitMQ", from: "amqp", to: "amqp", store: "sqlite", stagesOutlive: true},
	{name: "to another vhost", from: "amqp", to: "amqp", store: "postgres", samePrefix: true},
	{name: "to another pipeline and prefix", from: "kafka", to: "kafka", store: "postgres", stages: crusted},
	{name: "to a fresh Kafka cluster", from: "kafka", to: "kafka", store: "postgres", samePrefix: true, elsewhere: anotherKafka},
}

func anotherKafka(t *testing.T) []string {
	return []string{"KAFKA_BROKERS=" + startOwn(t, "kafka").address["PIZZAMILL_TEST_KAFKA"]}
}

// atOnce bounds how long a ledger takes to come to its new bus when the old one
// was left in order: a process that waits looks every few seconds.
const atOnce = 15 * time.Second

// TestTakeover starts a ledger on another bus with orders in flight on the old
// one: everything becomes complete, once, and what was complete stays as it was.
func TestTakeover(t *testing.T) {
	t.Parallel()
	for _, m := range moves {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			if !full && !m.short {
				t.Skip("LEFT OUT of short runs; make test runs it")
			}
			to := newTakeover(t, m, binary(t))
			for _, f := range to.run() {
				t.Error(f)
			}
			to.next.wantCleanRows()
		})
	}
}

// TestTakeoverSeesBrokenRestart proves the checks on a build that does not start
// open orders again on their new bus.
func TestTakeoverSeesBrokenRestart(t *testing.T) {
	if !full {
		t.Skip("LEFT OUT: builds the product once more; make test runs it")
	}
	t.Parallel()
	to := newTakeover(t, move{from: "kafka", to: "kafka", store: "sqlite"}, binary(t, "pizzamill_break_restart"))
	to.stall = 5 * time.Second
	findings := to.run()
	if !slices.ContainsFunc(findings, func(f string) bool { return strings.HasPrefix(f, lost+": ") }) {
		t.Fatalf("nothing lost was seen in a build that forgets open orders: %q", findings)
	}
	t.Logf("%d findings, the first: %s", len(findings), findings[0])
}

// takeover is a ledger on its way from one cluster to another.
type takeover struct {
	move
	t         *testing.T
	bin       string
	old, next *cluster
	book      *book
	stall     time.Duration     // see audit
	complete  map[string]string // pizza → its JSON, of those that were complete before
}

func newTakeover(t *testing.T, m move, bin string) *takeover {
	to := &takeover{move: m, t: t, bin: bin, book: newBook(t), stall: 20 * time.Second, complete: map[string]string{}}
	var elsewhere []string
	if m.elsewhere != nil {
		elsewhere = m.elsewhere(t)
	}
	// About 64 pizzas a second get past meat.
	to.old = newCluster(t, m.from, m.store, "FAULTS_DELAY=meat=1s")
	to.next = newCluster(t, m.to, m.store, elsewhere...)
	for _, name := range []string{"STORE_DSN", "STORE_PATH"} {
		if value := to.old.setting(name); value != "" {
			to.next.settings = append(to.next.settings, name+"="+value)
		}
	}
	if m.samePrefix {
		to.next.prefix = to.old.prefix
		to.next.settings = append(to.next.settings, "BUS_PREFIX="+to.old.prefix)
	}
	if m.stages == nil {
		to.stages = pipeline
	} else {
		to.next.settings = append(to.next.settings, "PIPELINE_STAGES="+strings.Join(m.stages, ","))
	}
	return to
}

// run goes through the move and returns what is amiss in the end.
func (to *takeover) run() []string {
	to.t.Helper()
	old, oldStages := to.add(to.old, ledgerModules), to.add(to.old, strings.Join(pipeline, ","))
	next, nextStages := to.add(to.next, ledgerModules), to.add(to.next, strings.Join(to.stages, ","))
	to.old.boot(old, oldStages)
	nextStages.boot()
	if to.store == "postgres" { // a second process on a file is refused
		next.boot()
		to.wantPatience(old, next)
	}
	to.bake(old)
	to.remember(old)
	if !to.stagesOutlive {
		to.old.stop(oldStages)
	}
	to.old.stop(old)
	left := time.Now()
	if to.store == "sqlite" {
		next.boot()
	}
	next.awaitReady()
	took := time.Since(left)
	if took > atOnce {
		to.t.Errorf("the ledger came to its new bus only %s after the old one was left", took)
	}
	nextStages.awaitReady()
	to.t.Logf("ready on the new bus %s after the old one was left, with %d of %d pizzas complete",
		took.Round(time.Millisecond), len(to.complete), to.book.pizzas())
	to.book.mustTake(next, 3)
	findings := to.findings(next)
	to.next.wantNoLetters()
	to.next.stop(next, nextStages)
	if to.stagesOutlive {
		to.old.stop(oldStages)
	}
	return findings
}

func (to *takeover) add(c *cluster, modules string) *server {
	s := c.add(modules)
	s.bin = to.bin
	return s
}

// bake has one order completed and several in the works, of which some pizzas
// are complete and more are not.
func (to *takeover) bake(s *server) {
	to.t.Helper()
	s.mustComplete(to.book.mustTake(s, 5), 30*time.Second)
	big := to.book.mustTake(s, 240)
	for range 3 {
		to.book.mustTake(s, 20)
	}
	poll(to.t, 30*time.Second, "a part of the big order is complete", func() bool {
		var o orderDoc
		s.mustGet(s.main, "/api/orders/"+big+"?limit=1", &o)
		return o.Completed >= 40
	})
}

// wantPatience wants that the new process says for whom it waits, and takes
// orders meanwhile, which the old one gets done.
func (to *takeover) wantPatience(old, next *server) {
	to.t.Helper()
	next.awaitTaking()
	id := to.book.mustTake(next, 3)
	who := fmt.Sprintf("process %d ", old.proc.cmd.Process.Pid)
	poll(to.t, 20*time.Second, "the new process says that it waits for "+who, func() bool {
		says := next.readyz(to.t)
		if says == "" {
			to.t.Fatal("the new process is ready while the old one is at work")
		}
		return strings.Contains(says, who)
	})
	next.mustComplete(id, 30*time.Second)
	if next.readyz(to.t) == "" {
		to.t.Error("the new process is ready while the old one is at work")
	}
}

// remember keeps the pizzas that are complete as they are.
func (to *takeover) remember(s *server) {
	to.t.Helper()
	for id := range to.book.answered {
		o, err := s.wholeOrder(context.Background(), id)
		if err != nil {
			to.t.Fatal(err)
		}
		for _, p := range o.Pizzas {
			if p["status"] == "complete" {
				id := fmt.Sprint(p["id"])
				to.complete[id] = to.text(s, "/api/pizzas/"+id)
			}
		}
	}
	if n := len(to.complete); n < 45 || n >= to.book.pizzas() {
		to.t.Errorf("%d of %d pizzas are complete before the takeover: this shows little", n, to.book.pizzas())
	}
}

// text returns an answer as it is.
func (to *takeover) text(s *server, path string) string {
	to.t.Helper()
	req, err := http.NewRequestWithContext(to.t.Context(), http.MethodGet, "http://"+s.main+path, nil)
	if err != nil {
		to.t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		to.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		to.t.Fatalf("GET %s: %s, %v", path, res.Status, err)
	}
	return string(body)
}

// findings audits the orders once everything is complete, or nothing moves any more.
func (to *takeover) findings(s *server) []string {
	to.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	a := newAudit(s, to.book)
	a.stall = to.stall
	var err error
	if slices.Equal(to.stages, pipeline) {
		err = a.run(ctx)
	} else {
		err = to.auditMixed(ctx, a)
	}
	if err != nil {
		to.t.Fatalf("audit: %v\n%s", err, a.summary())
	}
	for id, was := range to.complete {
		if is := to.text(s, "/api/pizzas/"+id); is != was {
			a.add(duplicate, "pizza %s was complete before, as %s, and is now %s", id, was, is)
		}
	}
	return a.findings
}

// auditMixed is the audit of orders whose pizzas went along two pipelines: what
// was complete has the stages of the old one, most of the rest those of the new.
func (to *takeover) auditMixed(ctx context.Context, a *audit) error {
	if err := a.drain(ctx); err != nil {
		return err
	}
	orders, err := a.s.allOrders(ctx)
	if err != nil {
		return err
	}
	a.compare(orders)
	renewed := 0
	for _, o := range orders {
		whole, err := a.s.wholeOrder(ctx, o.ID)
		if err != nil {
			return err
		}
		if whole.Status != "complete" {
			a.add(lost, "order %s is %s", o.ID, whole.Status)
		}
		for _, p := range whole.Pizzas {
			for _, stage := range pipeline {
				if text, _ := p[stage].(string); text == "" {
					a.add(lost, "pizza %s has no %s", p["id"], stage)
				}
			}
			if p["crust"] != nil {
				renewed++
			}
		}
		seen, events := map[string]bool{}, int64(0)
		err = a.s.readAll(ctx, whole, func(e streamEvent, pizza, step string) {
			if events++; e.id != events {
				a.add(disorder, "stream of %s: event %d has number %d", o.ID, events, e.id)
			}
			if seen[pizza+" "+step] {
				a.add(duplicate, "stream of %s: %s again for %s", o.ID, step, pizza)
			}
			seen[pizza+" "+step] = true
		})
		if err != nil {
			return err
		}
	}
	if renewed == 0 {
		a.add(lost, "no pizza has a crust")
	}
	to.t.Logf("%d of %d pizzas have a crust", renewed, to.book.pizzas())
	return a.totals(ctx, orders)
}
