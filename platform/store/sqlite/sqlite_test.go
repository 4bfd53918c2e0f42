package sqlite_test

import (
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
	"github.com/pizzamill/pizzamill/platform/store/sqlite"
	"github.com/pizzamill/pizzamill/platform/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Open {
		path := filepath.Join(t.TempDir(), "ledger.db")
		return storetest.Shared(func(t *testing.T) store.Driver {
			db, err := sqlite.Open(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			return db
		})
	})
}

// A row that cannot be read is the fault of its own facts only: those of other
// pizzas in the same call are written.
func TestOneBrokenRowDoesNotHoldUpTheOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "broken.db")
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	l := newLedger(db)
	o, _, err := l.PlaceOrder(t.Context(), 2, "")
	if err != nil {
		t.Fatal(err)
	}
	facts := func(step string) []store.Fact {
		list := make([]store.Fact, 2)
		for i := range list {
			p := event.New(event.PizzaID{Order: o.ID, Number: i + 1}, 0).With("sauce", "s")
			list[i] = store.Fact{Pizza: p.ID, Step: step, At: time.Now(), Body: p.Body()}
		}
		return list
	}
	if errs, err := l.Advance(t.Context(), facts("pizza")); err != nil || errs != nil {
		t.Fatal(errs, err)
	}
	shell, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shell.Exec("UPDATE pizzas SET steps = 'nonsense' WHERE key % 4294967296 = 1"); err != nil {
		t.Fatal(err)
	}
	if err := shell.Close(); err != nil {
		t.Fatal(err)
	}
	errs, err := l.Advance(t.Context(), facts("sauce"))
	if err != nil || len(errs) != 2 || errs[0] == nil || errs[1] != nil {
		t.Errorf("got %v, %v", errs, err)
	}
	if now, err := l.Order(t.Context(), o.ID); err != nil || now.Progress[1].Count != 1 {
		t.Errorf("progress %v, %v", now.Progress, err)
	}
	if err := errors.Join(l.Close(), db.Close()); err != nil {
		t.Error(err)
	}
}
