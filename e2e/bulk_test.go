package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Bounds on what a process uses while any number of pizzas waits. At most
// 4,096 events are on the bus at once.
const (
	maxGoroutines = 20_000
	maxMemory     = 700 << 20 // bytes
)

// TestBulkOrder makes 10,000 pizzas by the command line, watched to the end.
func TestBulkOrder(t *testing.T) {
	count := 10_000
	if !full {
		count = 1_000
	}
	s := start(t, "LOG_LEVEL=warn")
	before := s.mustScrape()
	p := s.sample()
	began := time.Now()
	r := s.command("order", fmt.Sprint(count), "--watch", "-o", "json", "--server", "http://"+s.main+"/")
	took := time.Since(began)
	p.stop()
	if r.code != 0 {
		t.Fatalf("order --watch: exit status %d\n%s", r.code, r.stderr)
	}
	var o orderDoc
	if err := json.Unmarshal([]byte(lastLine(r.stdout)), &o); err != nil {
		t.Fatalf("order --watch -o json printed no order: %v\n%s", err, r.stdout)
	}
	if o.Status != "complete" || o.Completed != count {
		t.Errorf("order --watch ended with %s and %d of %d", o.Status, o.Completed, count)
	}
	if p.samples < 5 || len(p.findings) > 0 {
		t.Errorf("%d samples of the metrics, of which these do not add up: %v", p.samples, p.findings)
	}
	b := newBook(t)
	b.answered[o.ID] = count
	a := newAudit(s, b)
	mustRun(t, a)
	if len(a.findings) > 0 {
		t.Error(a.summary())
	}
	t.Logf("%d pizzas in %s, %.0f a second; %d samples, all adding up; at most %.0f goroutines and %.0f MiB (%.0f and %.0f MiB before)",
		count, took.Round(time.Millisecond), float64(count)/took.Seconds(), p.samples,
		p.peak["go_goroutines"], p.peak["process_resident_memory_bytes"]/(1<<20),
		before["go_goroutines"], before["process_resident_memory_bytes"]/(1<<20))
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// TestManyWaiting holds memory and goroutines to their bounds while 100,000
// pizzas wait, and a small order to seconds.
func TestManyWaiting(t *testing.T) {
	count := 3_000
	if full {
		count = 100_000
	}
	s := start(t, "LOG_LEVEL=warn")
	idle := s.mustScrape()["go_goroutines"]
	big := s.mustOrder(count)
	s.awaitProgress(big, "dispatched", min(count, 1000))
	p := s.sample()
	began := time.Now()
	small := s.mustComplete(s.mustOrder(3), 20*time.Second)
	behind := time.Since(began)
	var o orderDoc
	s.mustGet(s.main, "/api/orders/"+big+"?limit=1", &o)
	if full && o.Status != "cooking" {
		t.Errorf("the order of %d was %s before the small one was done: this showed nothing", count, o.Status)
	}
	if behind > 5*time.Second && !raceBuild {
		t.Errorf("an order of 3 behind %d took %s", count, behind)
	}
	s.mustComplete(big, 5*time.Minute)
	p.stop()
	goroutines, memory := p.peak["go_goroutines"], p.peak["process_resident_memory_bytes"]
	if goroutines > maxGoroutines || (memory > maxMemory && !raceBuild) {
		t.Errorf("at most %.0f goroutines and %.0f MiB; the bounds are %d and %d MiB", goroutines, memory/(1<<20), maxGoroutines, maxMemory>>20)
	}
	if len(p.findings) > 0 {
		t.Errorf("samples of the metrics that do not add up: %v", p.findings)
	}
	after := s.awaitGoroutines(idle + 50)
	t.Logf("%d waiting: %d samples, at most %.0f goroutines (%.0f idle, %.0f after) and %.0f MiB; an order of 3 (%s) behind them took %s",
		count, p.samples, goroutines, idle, after, memory/(1<<20), small.ID, behind.Round(time.Millisecond))
}

// awaitGoroutines waits until there are no more goroutines than limit.
func (s *server) awaitGoroutines(limit float64) float64 {
	s.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(15 * time.Second)
	for {
		n := s.mustScrape()["go_goroutines"]
		if n <= limit {
			return n
		}
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Errorf("%.0f goroutines with all work done, more than %.0f", n, limit)
			return n
		}
	}
}
