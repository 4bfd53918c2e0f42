package sqlite_test

import (
	"context"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
	"github.com/pizzamill/pizzamill/platform/store/sqlite"
)

var benchStages = []string{"sauce", "cheese", "meat", "veggies"}

func benchLedger(b *testing.B) *store.Ledger {
	b.Helper()
	db, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "bench.db"))
	if err != nil {
		b.Fatal(err)
	}
	p, err := event.NewPipeline(benchStages...)
	if err != nil {
		b.Fatal(err)
	}
	l := store.New(db, store.Options{Pipeline: p})
	b.Cleanup(func() {
		if err := l.Close(); err != nil {
			b.Error(err)
		}
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	if err := l.Start(b.Context(), "bench"); err != nil {
		b.Fatal(err)
	}
	return l
}

// cpu is the processor time that the process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// bake returns the five facts of each pizza of an order, step by step.
func bake(order string, from, to int) [][]store.Fact {
	facts := make([][]store.Fact, 1+len(benchStages))
	at := time.Now()
	for n := from; n < to; n++ {
		p := event.New(event.PizzaID{Order: order, Number: n}, 0)
		for i := range facts {
			step, source := event.StepPizza, event.StepPizza
			if i > 0 {
				step, source = benchStages[i-1], benchStages[i-1]
				p = p.With(step, "something of about twenty")
			}
			facts[i] = append(facts[i], store.Fact{Pizza: p.ID, Step: step, At: at, Source: source, Body: p.Body()})
		}
	}
	return facts
}

// BenchmarkLine is all that the ledger does for a pizza: the journal's facts in
// batches of one step, the finished pizza once more from single callers, and
// the relay's lease and cursor. Waves of pizzas follow each other through the
// steps, so that a pizza meets as many commits as it does in life.
func BenchmarkLine(b *testing.B) {
	const wave = 512
	l := benchLedger(b)
	ctx := context.Background()
	order, _, err := l.PlaceOrder(ctx, max(b.N, 1), "")
	if err != nil {
		b.Fatal(err)
	}
	var waves [][][]store.Fact
	for n := 1; n <= b.N; n += wave {
		waves = append(waves, bake(order.ID, n, min(n+wave, b.N+1)))
	}
	b.ResetTimer()
	began := cpu(b)
	for round := range len(waves) + len(benchStages) + 1 {
		var wg sync.WaitGroup
		for step := range len(benchStages) + 1 {
			if w := round - step; w >= 0 && w < len(waves) {
				wg.Go(func() { mustAdvance(b, l, waves[w][step]) })
			}
		}
		wg.Go(func() { dispatchSome(b, l) })
		if w := round - len(benchStages) - 1; w >= 0 {
			for _, f := range waves[w][len(benchStages)] {
				wg.Go(func() { mustAdvance(b, l, []store.Fact{f}) })
			}
		}
		wg.Wait()
	}
	b.StopTimer()
	b.ReportMetric(float64((cpu(b)-began).Microseconds())/float64(b.N), "cpu-µs/pizza")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pizzas/s")
	if o, err := l.Order(ctx, order.ID); err != nil || o.Status() != store.Complete {
		b.Fatalf("order is %v, %v", o, err)
	}
}

func mustAdvance(b *testing.B, l *store.Ledger, facts []store.Fact) {
	if errs, err := l.Advance(context.Background(), facts); err != nil || errs != nil {
		b.Error(errs, err)
	}
}

func dispatchSome(b *testing.B, l *store.Ledger) {
	chunks, err := l.Lease(context.Background(), 512)
	if err == nil {
		err = l.Dispatched(context.Background(), chunks)
	}
	if err != nil {
		b.Error(err)
	}
}

// BenchmarkPlaceOrder is a synced order from each of many concurrent callers.
func BenchmarkPlaceOrder(b *testing.B) {
	l := benchLedger(b)
	b.SetParallelism(128)
	var commits atomic.Int64
	began := cpu(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, _, err := l.PlaceOrder(context.Background(), 3, ""); err != nil {
				b.Error(err)
			}
			commits.Add(1)
		}
	})
	b.ReportMetric(float64((cpu(b)-began).Microseconds())/float64(b.N), "cpu-µs/order")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "orders/s")
}
