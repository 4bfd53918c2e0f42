package e2e

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestStreamResumes follows one order over crashes of the process, as a browser
// does, by the ID of the last event it saw: nothing is missing, nothing comes twice.
func TestStreamResumes(t *testing.T) {
	count, crashes := 300, 2
	if full {
		count, crashes = 3000, 5
	}
	s := start(t, "LOG_LEVEL=warn")
	id := s.mustOrder(count)
	total := int64(6 * count)
	last := int64(0)
	ended := false
	next := map[string]int{}
	kinds := append(append([]string{"dispatched"}, pipeline...), "complete")
	follow := func(until int64) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		return s.stream(ctx, id, last, "", func(e streamEvent) bool {
			ended = e.name == "end"
			if e.id == 0 {
				return true
			}
			if e.id != last+1 {
				t.Errorf("after event %d comes %d", last, e.id)
			}
			last = e.id
			pizza, step, err := e.subject()
			if err != nil || next[pizza] >= len(kinds) || kinds[next[pizza]] != step {
				t.Fatalf("event %d: %s for %s after %d of its events, %v", e.id, step, pizza, next[pizza], err)
			}
			next[pizza]++
			return last < until
		})
	}
	for n := range crashes {
		if err := follow(total * int64(n+1) / int64(crashes+1)); err != nil {
			t.Fatalf("stream before crash %d: %v", n+1, err)
		}
		s.kill()
		s.boot()
		s.awaitReady()
	}
	if err := follow(total + 1); err != nil {
		t.Fatalf("stream to the end: %v", err)
	}
	if last != total || !ended {
		t.Errorf("%d of %d events, end seen: %v", last, total, ended)
	}
	// Resumed at the very end, it has only the end to tell.
	if err := follow(total + 1); err != nil || last != total {
		t.Errorf("resumed behind the last event: %d events, %v", last, err)
	}
}

// TestStreamEndsAtShutdown wants that an open stream does not hold a shutdown up.
func TestStreamEndsAtShutdown(t *testing.T) {
	s := start(t, append([]string{"FAULTS_FAIL=meat=1"}, quickRetries...)...)
	id := s.mustOrder(1) // ends partial, so that its stream stays open
	s.awaitPartialOrComplete(id)
	opened, cut := make(chan struct{}), make(chan error, 1)
	go func() {
		seen := false
		cut <- s.stream(context.Background(), id, 0, "", func(streamEvent) bool {
			if !seen {
				close(opened)
			}
			seen = true
			return true
		})
	}()
	<-opened
	code, took := s.terminate(45 * time.Second)
	if code != 0 || took > 10*time.Second {
		t.Errorf("with a stream open: exit status %d after %s", code, took)
	}
	if err := <-cut; !errors.Is(err, errStreamCut) {
		t.Errorf("the stream ended with %v, want a clean cut", err)
	}
}

// TestPipelineChanges restarts the process with another pipeline while an order
// is open: what is complete stays as it is, the rest is made along the new line.
func TestPipelineChanges(t *testing.T) {
	const count = 2000
	s := start(t)
	old := s.mustOrder(2)
	s.mustComplete(old, refusalLimit)
	id := s.mustOrder(count)
	s.awaitProgress(id, "complete", 20)
	s.kill()

	s.env = append(s.env, "PIPELINE_STAGES=crust,sauce,meat,veggies") // crust is new, cheese is gone
	s.boot()
	s.awaitReady()
	s.mustComplete(id, time.Minute)
	o, err := s.wholeOrder(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Pizzas) != count || len(o.Progress) != 5 {
		t.Errorf("%d pizzas, progress %+v", len(o.Pizzas), o.Progress)
	}
	for _, p := range o.Progress {
		if p.Count != count {
			t.Errorf("%d of %d pizzas past %s", p.Count, count, p.Step)
		}
	}
	before, after := 0, 0
	for _, p := range o.Pizzas {
		_, crust := p["crust"]
		switch {
		case p["status"] != "complete":
			t.Errorf("pizza %v is %v", p["id"], p["status"])
		case crust:
			after++
		default:
			before++
		}
	}
	if before < 20 || after == 0 {
		t.Errorf("%d pizzas of the old line and %d of the new one; at least 20 were complete before", before, after)
	}
	if again := s.mustComplete(old, refusalLimit); again.Completed != 2 {
		t.Errorf("the order that was complete before: %+v", again)
	}
	last := int64(0)
	err = s.stream(t.Context(), id, 0, "", func(e streamEvent) bool {
		if e.id != 0 {
			if last++; e.id != last {
				t.Errorf("event %d has number %d", last, e.id)
			}
		}
		return true
	})
	if err != nil {
		t.Error(err)
	}
	if bad := s.mustScrape().unbalanced(); bad != "" {
		t.Error(bad)
	}
	t.Logf("%d pizzas of the old line, %d of the new one, %d events", before, after, last)
}
