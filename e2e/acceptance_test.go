package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// cellLimit bounds what is waited for in a cell.
const cellLimit = 60 * time.Second

// TestAcceptance holds pizzamill to the same promises in every shape, on every
// bus and store: one suite, from outside. A full run in which every cell passes
// writes docs/parity.md.
func TestAcceptance(t *testing.T) {
	if *update {
		updateGolden(t)
	}
	results := &parity{passed: map[string]bool{}}
	t.Run("cells", func(t *testing.T) {
		for _, b := range backings {
			for _, s := range shapes {
				if s.excluded(b) != "" || !full && !s.short(b) {
					continue
				}
				t.Run(strings.ReplaceAll(b.String()+": "+s.name, " ", "_"), func(t *testing.T) {
					t.Parallel()
					accept(t, s, b)
					if !t.Failed() {
						results.pass(s, b)
					}
				})
			}
		}
	})
	if full {
		results.write(t, "../docs/parity.md")
	}
}

// cell is one cell of the table at work.
type cell struct {
	*cluster
	shape  shape
	book   *book
	cheese *server // in Python; nil where ours makes it
}

// accept runs the suite in one cell.
func accept(t *testing.T, s shape, on backing) {
	c := &cell{cluster: newCluster(t, on.bus, on.store, quickRetries...), shape: s, book: newBook(t)}
	if s.python {
		c.settings = append(c.settings, "PIPELINE_EXTERNAL=cheese")
		c.addPythonCheese()
	}
	c.orderAhead()
	c.bringUp()
	for _, o := range aheadOrders {
		c.last().mustComplete(o.id, cellLimit)
	}
	dispatched := c.tapFirst()
	id := c.orderOnOneAndWatchOnAnother()
	letters := c.poison()
	c.mustAudit(c.book)
	for _, m := range c.members {
		m.awaitNoLag()
	}
	dispatched(id)
	c.wantPizzas()
	c.wantLetters(letters)
	c.wantAgreement()
	c.wantPages()
	c.wantTopology()
	if c.cheese != nil {
		c.stop(c.cheese)
	}
	c.stop(c.members...)
	if on.bus == "gochannel" {
		c.failOnPurpose()
	}
}

// aheadOrders are ordered before the cell comes up, under IDs that are the same
// in every cell and every run, so that their pizzas must be.
var aheadOrders = []namedOrder{{"01jd3k8z4wq7rmx2", 3}, {"01jd3k8z4wq7rmx5", 21}}

func (c *cell) orderAhead() {
	c.t.Helper()
	c.orderUnder(aheadOrders...)
	for _, o := range aheadOrders {
		c.book.answered[o.id] = o.count
	}
}

// bringUp starts all processes of the cell at once, in an order of chance.
func (c *cell) bringUp() {
	c.t.Helper()
	for _, modules := range c.shape.processes {
		s := c.add(modules)
		if c.shape.blind && !s.runs(strings.Split(ledgerModules, ",")...) {
			s.env = slices.DeleteFunc(s.env, func(kv string) bool { return strings.HasPrefix(kv, "STORE_") })
		}
	}
	order := slices.Clone(c.members)
	rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	if c.cheese != nil {
		c.cheese.boot()
	}
	c.boot(order...)
}

// last returns a process that serves orders, another one than front if there is one.
func (c *cell) last() *server {
	fronts := c.fronts()
	return fronts[len(fronts)-1]
}

// orderOnOneAndWatchOnAnother orders with a key on one process, follows the
// stream on another as it happens, and asks for the same order again there.
func (c *cell) orderOnOneAndWatchOnAnother() string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), cellLimit)
	defer cancel()
	const count = watchedCount
	r := request{count: count, key: "once, wherever"}
	id, _ := c.book.place(ctx, c.front(), r)
	if id == "" {
		c.t.Fatal("no order")
	}
	seen := 0
	err := c.last().stream(ctx, id, 0, "", func(e streamEvent) bool {
		if e.id != 0 {
			seen++
		}
		return true
	})
	if err != nil || seen != 6*count {
		c.t.Errorf("%s streams an order of %s: %d of %d events, %v", c.last().name(), c.front().name(), seen, 6*count, err)
	}
	if again, _ := c.book.place(ctx, c.last(), r); again != id {
		c.t.Errorf("the key of order %s gives %s on another process", id, again)
	}
	if status, _, err := c.last().postOrder(ctx, count+1, r.key); err != nil || status != http.StatusUnprocessableEntity {
		c.t.Errorf("the key with another count: status %d, %v", status, err)
	}
	return id
}

// watchedCount is how many pizzas are ordered once all processes are up.
const watchedCount = 12

// tapFirst listens to the first topic. The function it returns wants the pizzas
// of an order to have been put on it once each, however many relays there are.
func (c *cell) tapFirst() func(order string) {
	if c.bus == "gochannel" {
		return func(string) {}
	}
	hear := c.tap("pizza")
	return func(order string) {
		c.t.Helper()
		times := map[string]int{}
		for _, e := range hear(watchedCount) {
			times[e.id]++
		}
		for n := range watchedCount {
			if id := fmt.Sprintf("%s-%d/pizza", order, n+1); times[id] != 1 {
				c.t.Errorf("event %s was sent %d times", id, times[id])
			}
		}
	}
}

// nobodys is a pizza that is made and that nobody ordered.
const nobodys = "nobody-1"

// letter is what a dead letter must say.
type letter struct{ module, topic, kind, body string }

// poison sends what breaks the contract, and a pizza that nobody ordered.
func (c *cell) poison() []letter {
	if c.bus == "gochannel" {
		return nil
	}
	const garbage = "no pizza at all"
	c.produce("pizza", "whatever", []byte(garbage))
	c.produce("pizza", nobodys, []byte(`{"id":"`+nobodys+`","allergies":["nuts",1e21]}`))
	return []letter{
		{"pizza", "pizza-with-veggies", "poison", ""}, // whose body is a pizza like any other
		{"sauce", "pizza", "poison", garbage},
	}
}

// wantLetters wants these dead letters, and no others, from every process that
// has the ledger.
func (c *cell) wantLetters(want []letter) {
	c.t.Helper()
	for _, s := range c.ledgers() {
		var got []letter
		poll(c.t, cellLimit, s.name()+" lists the dead letters", func() bool {
			got = nil
			for _, l := range s.letters("") {
				got = append(got, letter{l.Module, l.Topic, l.Kind, ""})
				if l.Status != "dead" {
					c.t.Errorf("letter %s is %s", l.ID, l.Status)
				}
				var one letterDoc
				s.mustGet(s.admin, "/api/dead-letters/"+l.ID, &one)
				switch {
				case l.Module == "pizza":
					made := decode(c.t, one.Body)
					c.wantSame(nobodys, made)
					if diff := cmp.Diff([]any{"nuts", 1e21}, made["allergies"]); diff != "" {
						c.t.Errorf("a field that no stage knows has changed (-sent +got):\n%s", diff)
					}
				case l.Kind == "poison":
					got[len(got)-1].body = one.Body
				}
			}
			return len(got) >= len(want)
		})
		slices.SortFunc(got, func(a, b letter) int { return strings.Compare(a.module, b.module) })
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(letter{})); diff != "" {
			c.t.Errorf("%s: dead letters (-want +got):\n%s", s.name(), diff)
		}
	}
}

func decode(t testing.TB, body string) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Errorf("body %q: %v", body, err)
	}
	return doc
}

// wantPizzas wants the pizzas that every other cell makes, in every process that
// serves them, and the whole story in their journals.
func (c *cell) wantPizzas() {
	c.t.Helper()
	for _, s := range c.fronts() {
		for _, o := range aheadOrders {
			whole, err := s.wholeOrder(context.Background(), o.id)
			if err != nil {
				c.t.Fatal(err)
			}
			for _, p := range whole.Pizzas {
				c.wantSame(fmt.Sprint(p["id"]), p)
				c.wantJournal(s, fmt.Sprint(p["id"]), cellLimit)
			}
		}
	}
}

// wantJournal wants five events with their sources in time, the last of which has
// the pizza.
func (c *cell) wantJournal(s *server, id string, within time.Duration) {
	c.t.Helper()
	want := append([]string{"pizza"}, pipeline...)
	if c.cheese != nil {
		want[slices.Index(want, "cheese")] = "" // it sends no headers
	}
	var j journalDoc
	whole := false
	defer func() {
		if !whole {
			c.t.Logf("%s: journal of %s: sources %q, want %q", s.name(), id, j.sources(), want)
		}
	}()
	// RabbitMQ does not count what the journal has in hand as lag.
	poll(c.t, within, "the journal has every event itself", func() bool {
		j = journalDoc{}
		s.mustGet(s.main, "/api/pizzas/"+id+"/journal", &j)
		whole = slices.Equal(j.sources(), want)
		return whole
	})
	c.wantSame(id, j.Events[len(j.Events)-1].Data)
}

// wantAgreement wants the same counts, which add up, from every process that has
// the ledger.
func (c *cell) wantAgreement() {
	c.t.Helper()
	for _, s := range c.ledgers() {
		m := s.mustScrape()
		ordered := c.book.pizzas()
		if bad := m.unbalanced(); bad != "" || m.pizzas("ordered") != ordered || m.pizzas("completed") != ordered {
			c.t.Errorf("%s: %d ordered and %d completed, want %d; %s", s.name(), m.pizzas("ordered"), m.pizzas("completed"), ordered, bad)
		}
	}
}

// wantPages opens the pages of every process that has them.
func (c *cell) wantPages() {
	c.t.Helper()
	id := aheadOrders[0].id
	for _, s := range c.with("ui") {
		for _, path := range []string{"/", "/orders", "/orders/" + id, "/pizzas/" + id + "-3"} {
			page(c.t, s.main, path, http.StatusOK)
		}
		page(c.t, s.admin, "/orders/"+id, http.StatusOK)
	}
}

// wantTopology asks the broker who consumes: nobody is missing.
func (c *cell) wantTopology() {
	c.t.Helper()
	if r := c.front().command("topology", "--check"); r.code != 0 {
		c.t.Errorf("topology --check: exit status %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

// failOnPurpose starts the cell again with a stage that fails, where nobody can
// send anything from outside.
func (c *cell) failOnPurpose() {
	c.t.Helper()
	s := c.members[0]
	s.env = append(s.env, "FAULTS_FAIL=sauce=1")
	c.boot(s)
	id := s.mustOrder(1)
	s.awaitPartialOrComplete(id)
	c.wantLetters([]letter{{"sauce", "pizza", "exhausted", ""}})
	c.stop(s)
}
