package e2e

import (
	"context"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// TestStopUnderLoad ends the process as a service manager does, with the loader
// at work: it exits 0 in time, loses nothing and dead-letters nothing.
func TestStopUnderLoad(t *testing.T) {
	s := newServer(t, binary(t))
	b := newBook(t)
	rounds, l := 2, load{budget: 600, most: 100, follow: true}
	if full {
		rounds, l = 6, load{budget: 5000, most: 1000, follow: true}
	}
	for range rounds {
		s.boot()
		s.awaitReady()
		loaded := b.runUntilFirst(s, l)
		code, took := s.terminate(45 * time.Second)
		<-loaded
		if code != 0 {
			t.Errorf("exit status %d after SIGTERM\n%s", code, tail(s.proc.errors()))
		}
		if took > 30*time.Second {
			t.Errorf("took %s to stop, longer than [app] shutdown_timeout", took)
		}
	}
	s.boot()
	s.awaitReady()
	b.settle(context.Background(), s)
	a := newAudit(s, b)
	mustRun(t, a)
	if len(a.findings) > 0 {
		t.Error(a.summary())
	}
	if letters := s.letters(""); len(letters) > 0 {
		t.Errorf("%d dead letters after clean shutdowns, the first: %+v", len(letters), letters[0])
	}
	t.Logf("%d shutdowns under load, %d orders for %d pizzas", rounds, len(b.answered), b.pizzas())
}

// TestStopWithManyWaiting ends the process while far more waits than could be
// finished in time: what is in hand is finished, the rest stays in the ledger.
func TestStopWithManyWaiting(t *testing.T) {
	count := 3_000
	if full {
		count = 50_000
	}
	s := start(t)
	b := newBook(t)
	if _, ok := b.place(context.Background(), s, request{count: count}); !ok {
		t.Fatal("no order")
	}
	code, took := s.terminate(45 * time.Second)
	if code != 0 {
		t.Errorf("exit status %d after SIGTERM\n%s", code, tail(s.proc.errors()))
	}
	t.Logf("stopped in %s", took.Round(time.Millisecond))
	s.boot()
	s.awaitReady()
	a := newAudit(s, b)
	mustRun(t, a)
	if len(a.findings) > 0 {
		t.Error(a.summary())
	}
}

// TestSecondSignal ends a shutdown that takes long, at once.
func TestSecondSignal(t *testing.T) {
	s := start(t, "FAULTS_DELAY=cheese=25s", "RETRY_ATTEMPT_TIMEOUT=60s")
	id := s.mustOrder(1)
	s.awaitProgress(id, "sauce", 1)
	s.proc.signal(syscall.SIGTERM)
	s.awaitRefusal()
	if code, over := s.proc.wait(0); over {
		t.Fatalf("the process ended with %d and left a pizza in hand", code)
	}
	s.proc.signal(syscall.SIGTERM)
	code, ok := s.proc.wait(5 * time.Second)
	if !ok || code != 130 {
		t.Errorf("after a second signal: ended %v, exit status %d; want 130 at once", ok, code)
	}
}

// awaitProgress waits until some pizzas of an order are past a step.
func (s *server) awaitProgress(id, step string, count int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	seen := 0
	err := s.stream(ctx, id, 0, "", func(e streamEvent) bool {
		if _, at, err := e.subject(); err == nil && at == step {
			seen++
		}
		return seen < count
	})
	if err != nil || seen < count {
		s.t.Fatalf("waiting for %d past %s in order %s: saw %d, %v", count, step, id, seen, err)
	}
}

// awaitRefusal waits until orders are not taken any more.
func (s *server) awaitRefusal() {
	s.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for {
		status, _, err := s.postOrder(context.Background(), 1, "")
		if err != nil || status == http.StatusServiceUnavailable {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatal("orders are still taken after SIGTERM")
		}
	}
}

// letters lists the dead letters, up to 1000, with a query that begins with & or is empty.
func (s *server) letters(query string) []letterDoc {
	s.t.Helper()
	var list struct {
		Letters []letterDoc `json:"dead_letters"`
	}
	s.mustGet(s.admin, "/api/dead-letters?limit=1000"+query, &list)
	return list.Letters
}
