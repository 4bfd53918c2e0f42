package storetest

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

var benchStages = []string{"sauce", "cheese", "meat", "veggies"}

// benchLedgers are ledgers on one bus, one for each process.
func benchLedgers(b *testing.B, dbs []store.Driver) (ledgers []*store.Ledger) {
	b.Helper()
	p, err := event.NewPipeline(benchStages...)
	if err != nil {
		b.Fatal(err)
	}
	for i, db := range dbs {
		l := store.New(db, store.Options{Pipeline: p})
		b.Cleanup(func() {
			if err := l.Close(); err != nil {
				b.Error(err)
			}
			if err := db.Close(); err != nil {
				b.Error(err)
			}
		})
		if err := l.Start(b.Context(), store.Process{ID: fmt.Sprint(i), Bus: "kafka//bench", Driver: "kafka"}); err != nil {
			b.Fatal(err)
		}
		ledgers = append(ledgers, l)
	}
	return ledgers
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

// BenchLine measures all that the ledger does for a pizza: the journal's facts
// in batches of one step, the finished pizza once more from single callers, and
// the relay's lease and cursor. Waves of pizzas follow each other through the
// steps, so that a pizza meets as many commits as it does in life. Of several
// processes, each takes a part of the topics, and they share the orders.
func BenchLine(b *testing.B, dbs ...store.Driver) {
	const wave = 512
	ledgers := benchLedgers(b, dbs)
	ctx := context.Background()
	orders := make([]string, len(ledgers))
	for i, l := range ledgers {
		o, _, err := l.PlaceOrder(ctx, max(b.N, 1), "")
		if err != nil {
			b.Fatal(err)
		}
		orders[i] = o.ID
	}
	var waves [][][]store.Fact
	for n := 1; n <= b.N; n += wave {
		waves = append(waves, bake(orders[len(waves)%len(orders)], n, min(n+wave, b.N+1)))
	}
	of := func(i int) *store.Ledger { return ledgers[i%len(ledgers)] }
	b.ResetTimer()
	began := cpu(b)
	for round := range len(waves) + len(benchStages) + 1 {
		var wg sync.WaitGroup
		for step := range len(benchStages) + 1 {
			if w := round - step; w >= 0 && w < len(waves) {
				wg.Go(func() { mustAdvance(b, of(step), waves[w][step]) })
			}
		}
		wg.Go(func() { dispatchSome(b, of(round)) })
		if w := round - len(benchStages) - 1; w >= 0 {
			for i, f := range waves[w][len(benchStages)] {
				wg.Go(func() { mustAdvance(b, of(i), []store.Fact{f}) })
			}
		}
		wg.Wait()
	}
	b.StopTimer()
	b.ReportMetric(float64((cpu(b)-began).Microseconds())/float64(b.N), "cpu-µs/pizza")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pizzas/s")
	if t, err := ledgers[0].Totals(ctx); err != nil || t.Completed != int64(b.N) {
		b.Fatalf("totals are %+v, %v", t, err)
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

// BenchPlaceOrder measures a synced order from each of many concurrent callers.
func BenchPlaceOrder(b *testing.B, db store.Driver) {
	l := benchLedgers(b, []store.Driver{db})[0]
	b.SetParallelism(128)
	b.ResetTimer()
	began := cpu(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, _, err := l.PlaceOrder(context.Background(), 3, ""); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64((cpu(b)-began).Microseconds())/float64(b.N), "cpu-µs/order")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "orders/s")
}
