package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pizzamill/pizzamill/platform/store"
)

func open(t *testing.T) *DB {
	t.Helper()
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// What a 2xx promises hangs on these.
func TestWriterIsDurable(t *testing.T) {
	db := open(t)
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		err := db.writer.query("PRAGMA "+pragma, func(v []driver.Value) error {
			if got := fmt.Sprint(v[0]); got != want {
				t.Errorf("%s is %s, want %s", pragma, got, want)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadersCannotWrite(t *testing.T) {
	db := open(t)
	err := db.View(t.Context(), func(tx store.ReadTx) error {
		return tx.(*reader).c.exec("INSERT INTO meta (name, value) VALUES ('a', 'b')")
	})
	if err == nil {
		t.Fatal("a reader wrote")
	}
}

// readLong reads for some milliseconds.
func readLong(tx store.ReadTx) error {
	for range 100 {
		if _, err := tx.Meta("0"); err != nil {
			return err
		}
	}
	return nil
}

// A log that readers are always in must not grow without end.
func TestLogStaysBounded(t *testing.T) {
	db := open(t)
	db.maxLog = 1 << 20
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for ctx.Err() == nil {
				if err := db.View(context.Background(), readLong); err != nil {
					t.Error(err)
				}
			}
		})
	}
	defer readers.Wait()
	defer stop()
	value := string(make([]byte, 16<<10))
	var largest int64
	for i := range 900 {
		err := db.Update(ctx, func(tx store.Tx) error {
			return tx.Write(&store.Changes{Meta: map[string]string{fmt.Sprint(i % 50): value}})
		})
		if err != nil {
			t.Fatal(err)
		}
		if log, err := os.Stat(db.path + "-wal"); err == nil {
			largest = max(largest, log.Size())
		}
	}
	if largest > 12<<20 { // twice what 256 commits write
		t.Errorf("the log grew to %d MiB", largest>>20)
	}
}

// No statement may look at a whole table, or sort what an index has in order.
func TestStatementsUseIndexes(t *testing.T) {
	db := open(t)
	c := db.writer
	err := db.Update(t.Context(), func(w store.Tx) error {
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
				return w.Write(&store.Changes{ForgetKeys: 1, Processes: []*store.ProcessRow{{}}, GoneProcess: []string{"a"}, Buses: []*store.BusRow{{}}})
			},
		} {
			if err := run(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range slices.Collect(maps.Keys(c.stmts)) {
		err := c.query("EXPLAIN QUERY PLAN "+statement, func(v []driver.Value) error {
			step := text(v[3])
			if strings.Contains(step, "TEMP B-TREE") || strings.HasPrefix(step, "SCAN ") && !strings.Contains(step, "USING") {
				t.Errorf("%s\nneeds: %s", statement, step)
			}
			return nil
		}, make([]driver.Value, strings.Count(statement, "?"))...)
		if err != nil {
			t.Fatal(err)
		}
	}
}
