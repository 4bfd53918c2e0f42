package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// quickRetries keeps the pauses between attempts out of the way.
var quickRetries = []string{"RETRY_MAX_ATTEMPTS=3", "RETRY_INITIAL_INTERVAL=1ms", "RETRY_MAX_INTERVAL=4ms"}

// TestFaultsDeadLetter makes a stage fail for a share of the pizzas, by error
// and by panic. Those, and no others, end as dead letters.
func TestFaultsDeadLetter(t *testing.T) {
	for _, c := range []struct{ setting, kind string }{
		{"FAULTS_FAIL=meat=0.2", "exhausted"},
		{"FAULTS_PANIC=meat=0.2", "panic"},
	} {
		t.Run(c.kind, func(t *testing.T) {
			const count = 200
			s := start(t, append([]string{c.setting, "LOG_LEVEL=error"}, quickRetries...)...)
			r := s.command("order", fmt.Sprint(count), "--watch", "--server", "http://"+s.main)
			if r.code != 5 {
				t.Errorf("order --watch of an order that ends partial: exit status %d, want 5\n%s", r.code, r.stderr)
			}
			orders, err := s.allOrders(context.Background())
			if err != nil || len(orders) != 1 {
				t.Fatalf("%d orders, %v", len(orders), err)
			}
			o, err := s.wholeOrder(context.Background(), orders[0].ID)
			if err != nil {
				t.Fatal(err)
			}
			checkPartial(t, s, o, c.kind)
			// A restart makes none of them again.
			s.kill()
			s.boot()
			s.awaitReady()
			s.awaitPartialOrComplete(s.mustOrder(1))
			again, err := s.wholeOrder(context.Background(), o.ID)
			if err != nil {
				t.Fatal(err)
			}
			checkPartialAfterRestart(t, s, o, again)
		})
	}
}

func checkPartial(t *testing.T, s *server, o orderDoc, kind string) {
	t.Helper()
	if o.Status != "partial" || o.DeadLettered == 0 || o.Completed == 0 || o.Completed+o.DeadLettered != o.Count || o.CompletedAt != nil {
		t.Fatalf("order of %d is %s with %d completed and %d dead-lettered, completed_at %v", o.Count, o.Status, o.Completed, o.DeadLettered, o.CompletedAt)
	}
	want := map[string]int{"pizza": o.Count, "sauce": o.Count, "cheese": o.Count, "meat": o.Completed, "veggies": o.Completed}
	for _, p := range o.Progress {
		if p.Count != want[p.Step] {
			t.Errorf("%d pizzas past %s, want %d", p.Count, p.Step, want[p.Step])
		}
	}
	dead := map[string]bool{}
	for _, p := range o.Pizzas {
		if p["status"] == "dead_lettered" {
			dead[p["id"].(string)] = true
		}
	}
	letters := s.letters("&module=meat&status=dead&order=" + o.ID)
	if len(letters) != o.DeadLettered || len(dead) != o.DeadLettered || len(s.letters("")) != o.DeadLettered {
		t.Errorf("order says %d dead-lettered; %d pizzas are, and there are %d letters", o.DeadLettered, len(dead), len(letters))
	}
	for _, l := range letters {
		checkLetter(t, l, o.ID, kind, dead)
	}
	var one letterDoc
	s.mustGet(s.admin, "/api/dead-letters/"+letters[0].ID, &one)
	if one.Key != *letters[0].PizzaID || one.Body == "" || one.ID != letters[0].ID || one.Headers == nil {
		t.Errorf("the letter alone: %+v", one)
	}
	m := s.mustScrape()
	if bad := m.unbalanced(); bad != "" || m.pizzas("dead_lettered") != o.DeadLettered {
		t.Errorf("metrics: %d dead-lettered, want %d; %s", m.pizzas("dead_lettered"), o.DeadLettered, bad)
	}
	if n := m.sum("pizzamill_handled_total", `module="meat"`, `outcome="dead_lettered"`); int(n) != o.DeadLettered {
		t.Errorf("pizzamill_handled_total says %v dead-lettered, want %d", n, o.DeadLettered)
	}
	if n := m.sum("pizzamill_retries_total", `module="meat"`); int(n) != 2*o.DeadLettered {
		t.Errorf("pizzamill_retries_total is %v, want two for each of %d", n, o.DeadLettered)
	}
	checkStreamOfPartial(t, s, o, dead)
}

func checkLetter(t *testing.T, l letterDoc, order, kind string, dead map[string]bool) {
	t.Helper()
	if l.PizzaID == nil || l.OrderID == nil || !dead[*l.PizzaID] || *l.OrderID != order {
		t.Errorf("letter %s is about no dead-lettered pizza of the order: %+v", l.ID, l)
	}
	if l.Kind != kind || l.Attempts != 3 || l.Module != "meat" || l.Topic != "pizza-with-cheese" || l.Status != "dead" || l.Requeues != 0 {
		t.Errorf("letter %s: want kind %s, 3 attempts, module meat, topic pizza-with-cheese, dead; got %+v", l.ID, kind, l)
	}
	if l.Error == "" || l.Fingerprint == "" {
		t.Errorf("letter %s without error or fingerprint: %+v", l.ID, l)
	}
}

// checkStreamOfPartial wants one dead_letter event for each dead pizza, and
// numbers without a gap.
func checkStreamOfPartial(t *testing.T, s *server, o orderDoc, dead map[string]bool) {
	t.Helper()
	want := int64(6*o.Completed + 4*o.DeadLettered) // dispatched, sauce, cheese, dead_letter
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	seen, letters := int64(0), 0
	err := s.stream(ctx, o.ID, 0, "", func(e streamEvent) bool {
		if e.id == 0 {
			return true
		}
		if seen++; e.id != seen {
			t.Errorf("event %d has number %d", seen, e.id)
		}
		if pizza, kind, err := e.subject(); kind == "dead_letter" {
			if letters++; err != nil || !dead[pizza] {
				t.Errorf("dead_letter event for %q, %v", pizza, err)
			}
		}
		return seen < want
	})
	if err != nil || letters != o.DeadLettered {
		t.Errorf("the stream has %d of %d events, %d of %d dead letters: %v", seen, want, letters, o.DeadLettered, err)
	}
}

// awaitPartialOrComplete waits until nothing of an order is in flight.
func (s *server) awaitPartialOrComplete(id string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := s.awaitOrder(ctx, id, "partial", "complete"); err != nil {
		s.t.Fatal(err)
	}
}

func checkPartialAfterRestart(t *testing.T, s *server, before, after orderDoc) {
	t.Helper()
	if after.Status != "partial" || after.Completed != before.Completed || after.DeadLettered != before.DeadLettered {
		t.Errorf("after a restart the order is %s with %d completed and %d dead-lettered; before, %d and %d",
			after.Status, after.Completed, after.DeadLettered, before.Completed, before.DeadLettered)
	}
	if n := s.mustScrape().sum("pizzamill_handled_total", `module="sauce"`); n != 1 {
		t.Errorf("sauce handled %v events after the restart, want the 1 that is new", n)
	}
}

// TestFaultsFlaky makes attempts fail by chance: retries get every pizza through.
func TestFaultsFlaky(t *testing.T) {
	s := start(t, "FAULTS_FLAKY=sauce=0.3,veggies=0.3", "RETRY_MAX_ATTEMPTS=20",
		"RETRY_INITIAL_INTERVAL=1ms", "RETRY_MAX_INTERVAL=2ms", "LOG_LEVEL=error")
	b := newBook(t)
	b.place(context.Background(), s, request{count: 300})
	a := newAudit(s, b)
	mustRun(t, a)
	if len(a.findings) > 0 {
		t.Error(a.summary())
	}
	m := s.mustScrape()
	for _, stage := range []string{"sauce", "veggies"} {
		if n := m.sum("pizzamill_retries_total", `module="`+stage+`"`); n < 30 {
			t.Errorf("%s was retried %v times for 300 pizzas; the fault did nothing", stage, n)
		}
	}
	if n := len(s.letters("")); n > 0 {
		t.Errorf("%d dead letters", n)
	}
}
