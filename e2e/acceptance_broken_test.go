package e2e

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// TestAcceptanceSees proves the checks of TestAcceptance on what they must not
// let pass.
func TestAcceptanceSees(t *testing.T) {
	c := &cell{cluster: newCluster(t, "gochannel", "sqlite", quickRetries...), shape: shapes[0], book: newBook(t)}
	c.orderAhead()
	c.bringUp()
	s := c.front()
	pizza := aheadOrders[0].id + "-1"
	for _, o := range aheadOrders {
		s.mustComplete(o.id, cellLimit)
	}
	c.mustAudit(c.book)
	if found := seen(t, c, c.wantPizzas, c.wantAgreement, c.wantPages, c.wantTopology); len(found) > 0 {
		t.Fatalf("with nothing broken: %q", found)
	}

	c.stop(s)
	s.env = append(s.env, "FAULTS_FAIL=sauce=1")
	c.boot(s)
	failed := s.mustOrder(1)
	s.awaitPartialOrComplete(failed)
	for what, check := range map[string]func(){
		"another pizza":                 func() { c.wantSame(pizza, map[string]any{"sauce": "mud"}) },
		"a pizza of an unknown ID":      func() { c.wantSame("unknown-1", map[string]any{"sauce": "pesto"}) },
		"a journal of one event":        func() { c.wantJournal(s, failed+"-1", time.Second) },
		"a dead letter too many":        func() { c.wantLetters(nil) },
		"a dead letter of another kind": func() { c.wantLetters([]letter{{"sauce", "pizza", "poison", ""}}) },
		"an order that nobody wrote":    c.wantAgreement,
		"a killed process":              func() { s.kill(); c.stop(s) },
	} {
		t.Run(what, func(t *testing.T) {
			if len(seen(t, c, check)) == 0 {
				t.Error("not seen")
			}
			if !s.running() {
				c.boot(s)
			}
		})
	}
}

// seen runs checks of a cell and returns what they report.
func seen(t *testing.T, c *cell, checks ...func()) []string {
	t.Helper()
	r := &recorder{TB: t}
	c.t = r
	defer func() { c.t = t }()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, check := range checks {
			check()
		}
	}()
	<-done
	return r.reports
}

// recorder is a test that keeps what is reported and does not fail. One
// goroutine uses it at a time.
type recorder struct {
	testing.TB
	reports []string
}

func (r *recorder) Helper()                           {}
func (r *recorder) Error(args ...any)                 { r.reports = append(r.reports, fmt.Sprint(args...)) }
func (r *recorder) Errorf(format string, args ...any) { r.Error(fmt.Sprintf(format, args...)) }

func (r *recorder) Fatal(args ...any) {
	r.Error(args...)
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) { r.Fatal(fmt.Sprintf(format, args...)) }
