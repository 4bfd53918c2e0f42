package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"
)

// brokers are the buses of several processes.
var brokers = []string{"kafka", "amqp"}

// TestAbsentStage has a stage miss the first orders, before it was ever started,
// and then some more while it is down. It makes all of them when it comes.
func TestAbsentStage(t *testing.T) {
	t.Parallel()
	for _, bus := range brokers {
		t.Run(bus, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, bus, "sqlite")
			c.start(ledgerModules, "sauce,cheese,veggies")
			b := newBook(t)
			meat := c.add("meat")
			for _, when := range []string{"before its first start", "while it is down"} {
				id, _ := b.place(context.Background(), c.front(), request{count: 30})
				c.front().awaitProgress(id, "cheese", 30)
				if r := c.front().command("topology", "--check"); r.code != 1 || !strings.Contains(r.stdout, "meat") {
					t.Errorf("topology --check without meat: exit status %d; want 1 and who is missing\n%s%s", r.code, r.stdout, r.stderr)
				}
				c.boot(meat)
				c.front().mustComplete(id, cellLimit)
				c.stop(meat)
				t.Logf("30 pizzas ordered %s are complete", when)
			}
			c.boot(meat)
			c.mustAudit(b)
			c.stop(c.members...)
		})
	}
}

// TestAbsentJournal completes orders while the journal is down, which leaves
// only the last event of a pizza in the ledger. When it comes back, the journal
// gets the times at which everything happened, not that at which it learnt of it.
func TestAbsentJournal(t *testing.T) {
	t.Parallel()
	const delay = 300 * time.Millisecond
	for _, bus := range brokers {
		t.Run(bus, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, bus, "postgres", "FAULTS_DELAY=cheese=300ms,veggies=300ms")
			c.start("journal", "pizza,deadletter,ui", "sauce,cheese,meat,veggies")
			journal := c.members[0]
			c.stop(journal)
			happened := c.tap(append([]string{"pizza"}, topicsOf(pipeline)...)...)

			b := newBook(t)
			const count = 5
			id, _ := b.place(context.Background(), c.front(), request{count: count})
			c.front().mustComplete(id, cellLimit)
			for _, j := range c.journals(id) {
				if len(j.Events) != 5 || j.Events[0].At != j.Events[4].At {
					t.Errorf("without the journal, that of %s should have one time only: %+v", j.PizzaID, j.Events)
				}
			}
			times := map[string]string{}
			for _, e := range happened(5 * count) {
				times[e.id] = e.at
			}

			c.boot(journal)
			c.front().awaitNoLag()
			// RabbitMQ does not count what the journal has in hand.
			poll(t, cellLimit, "the journal has every event itself", func() bool {
				return !slices.ContainsFunc(c.journals(id), func(j journalDoc) bool { return slices.Contains(j.sources(), "") })
			})
			for _, j := range c.journals(id) {
				var at []time.Time
				for _, e := range j.Events {
					if e.At != times[e.ID] {
						t.Errorf("event %s is journalled at %s, its ce_time is %q", e.ID, e.At, times[e.ID])
					}
					at = append(at, mustTime(t, e.At))
				}
				if len(at) != 5 || at[2].Sub(at[1]) < delay || at[4].Sub(at[3]) < delay {
					t.Errorf("journal of %s: %v; cheese and veggies took %s each", j.PizzaID, at, delay)
				}
			}
			c.mustAudit(b)
			c.stop(c.members...)
		})
	}
}

func topicsOf(stages []string) []string {
	var topics []string
	for _, s := range stages {
		topics = append(topics, "pizza-with-"+s)
	}
	return topics
}

func mustTime(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02T15:04:05.000Z", text)
	if err != nil {
		t.Errorf("time %q: %v", text, err)
	}
	return at
}

// journals returns the journals of all pizzas of an order.
func (c *cluster) journals(order string) []journalDoc {
	c.t.Helper()
	whole, err := c.front().wholeOrder(context.Background(), order)
	if err != nil {
		c.t.Fatal(err)
	}
	journals := make([]journalDoc, len(whole.Pizzas))
	for i, p := range whole.Pizzas {
		c.front().mustGet(c.front().main, "/api/pizzas/"+p["id"].(string)+"/journal", &journals[i])
	}
	return journals
}
