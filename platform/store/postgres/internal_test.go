package postgres

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pizzamill/pizzamill/internal/testservice"
	"github.com/pizzamill/pizzamill/platform/store"
)

// statements collects what is sent to the server.
type statements struct {
	mu  sync.Mutex
	sql map[string]int // how many arguments
}

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}
func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (s *statements) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}

func (s *statements) TraceBatchQuery(_ context.Context, _ *pgx.Conn, d pgx.TraceBatchQueryData) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sql[d.SQL] = len(d.Args)
}

func (s *statements) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// everything runs each statement there is.
func everything(w store.Tx) error {
	for _, run := range []func() error{
		func() error { _, err := w.Orders([]string{"a"}); return err },
		func() error { _, err := w.OrdersBefore("", 1); return err },
		func() error { _, err := w.OrdersBefore("a", 1); return err },
		func() error { _, err := w.OldestOpen(); return err },
		func() error { _, err := w.Pizzas([]store.PizzaKey{{Order: 1, Number: 1}}); return err },
		func() error { _, err := w.PizzasAfter(1, 1, 1, ""); return err },
		func() error { _, err := w.PizzasAfter(1, 1, 1, store.Complete); return err },
		func() error { _, err := w.PizzasAfter(1, 1, 1, store.DeadLettered); return err },
		func() error { _, err := w.Done(1, 1, 2); return err },
		func() error { _, err := w.CountDone(1, 1, 2); return err },
		func() error { _, err := w.Facts([]store.FactKey{{Order: 1, Event: 1}}); return err },
		func() error { _, err := w.FactsAfter(1, 1, 1); return err },
		func() error { _, _, err := w.Letter("a"); return err },
		func() error { _, err := w.LettersAfter(store.LetterFilter{}, "", 1); return err },
		func() error { _, err := w.LettersAfter(store.LetterFilter{Module: "a"}, "a", 1); return err },
		func() error { _, err := w.LettersAfter(store.LetterFilter{Order: "a"}, "a", 1); return err },
		func() error { _, _, err := w.Key("a"); return err },
		func() error { _, err := w.Meta("a"); return err },
		func() error { _, err := w.Ready(1, 1); return err },
		func() error { _, err := w.LastTurn(); return err },
		func() error { _, err := w.Open(); return err },
		func() error {
			return w.Write(&store.Changes{
				NewOrders:   []*store.OrderRow{{ID: "a"}},
				Orders:      []*store.OrderRow{{Seq: 1}},
				Pizzas:      []*store.PizzaRow{{PizzaKey: store.PizzaKey{Order: 1, Number: 1}, Status: store.Cooking}},
				NewFacts:    []*store.FactRow{{FactKey: store.FactKey{Order: 1, Event: 1}, Kind: store.EventStage}},
				FilledFacts: []*store.FactRow{{FactKey: store.FactKey{Order: 1, Event: 1}}},
				Letters:     []*store.DeadLetter{{ID: "a"}},
				NewKeys:     []*store.KeyRow{{Key: "a"}},
				ForgetKeys:  1,
				Totals:      map[string]int64{"a": 1},
				Meta:        map[string]string{"a": "b"},
			})
		},
	} {
		if err := run(); err != nil {
			return err
		}
	}
	return nil
}

// No statement may look at a whole table, or sort what an index has in order,
// whatever the statistics say when its plan is made.
func TestStatementsUseIndexes(t *testing.T) {
	db, err := Open(testservice.Database(t), false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	seen := &statements{sql: map[string]int{}}
	db.config.Tracer = seen
	if err := db.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a letter is inserted, then updated
		if err := db.Update(t.Context(), everything); err != nil && !strings.Contains(err.Error(), "23505") {
			t.Fatal(err)
		}
	}
	if len(seen.sql) < 30 {
		t.Fatalf("saw %d statements", len(seen.sql))
	}
	c, err := db.connection(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(t.Context(), "SET plan_cache_mode = force_generic_plan"); err != nil {
		t.Fatal(err)
	}
	for sql, args := range seen.sql {
		if sql == "COMMIT" || strings.HasPrefix(sql, "BEGIN") {
			continue
		}
		for _, line := range explain(t, c, sql, args) {
			// In the order of IDs is how rows are locked.
			sorts := strings.Contains(line, "Sort  ") && !strings.Contains(sql, "ORDER BY id FOR UPDATE")
			if sorts || strings.Contains(line, "Seq Scan") || strings.Contains(line, "JIT") {
				t.Errorf("%s\nneeds: %s", sql, line)
			}
			if strings.Contains(sql, "(first_failed, id) >") && strings.Contains(line, "Filter: ") && strings.Contains(line, "first_failed") {
				t.Errorf("%s\nreads from the first letter: %s", sql, line)
			}
		}
	}
}

// explain returns the plan that a prepared statement gets for any arguments.
func explain(t *testing.T, c *pgx.Conn, sql string, args int) (lines []string) {
	t.Helper()
	if _, err := c.Exec(t.Context(), "PREPARE explained AS "+sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	values := ""
	if args > 0 {
		values = "(" + strings.TrimSuffix(strings.Repeat("NULL,", args), ",") + ")"
	}
	rows, err := c.Query(t.Context(), fmt.Sprintf("EXPLAIN EXECUTE explained%s", values), pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	if lines, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if _, err := c.Exec(t.Context(), "DEALLOCATE explained"); err != nil {
		t.Fatal(err)
	}
	return lines
}
