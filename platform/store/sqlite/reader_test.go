package sqlite_test

import (
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
	"github.com/pizzamill/pizzamill/platform/store/sqlite"
)

// shell runs SQL in a database, as a person with a shell might.
func shell(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// cook places orders and writes the facts of some of their pizzas.
func cook(t *testing.T, l *store.Ledger) {
	t.Helper()
	for _, step := range []string{"pizza", "sauce", "cheese"} {
		o, _, err := l.PlaceOrder(t.Context(), 3, "")
		if err != nil {
			t.Fatal(err)
		}
		p := event.New(event.PizzaID{Order: o.ID, Number: 2}, 0).With("sauce", "s").With("cheese", "c")
		if errs, err := l.Advance(t.Context(), []store.Fact{{Pizza: p.ID, Step: step, At: time.Now(), Body: p.Body()}}); err != nil || errs != nil {
			t.Fatal(errs, err)
		}
	}
}

func TestReaderBesideTheProcessThatHasTheDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	db := mustOpen(t, path)
	defer mustClose(t, db)
	l := newLedger(db)
	defer func() { _ = l.Close() }()
	cook(t, l)
	r, err := sqlite.OpenReader(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, r)
	reading := newLedger(r)
	defer func() { _ = reading.Close() }()
	if differences, err := reading.Recount(t.Context()); err != nil || differences != nil {
		t.Errorf("recount: %q, %v", differences, err)
	}
	cook(t, l)
	if totals, err := reading.Totals(t.Context()); err != nil || totals.Ordered != 18 || totals.Completed != 2 {
		t.Errorf("totals %+v, %v", totals, err)
	}
	if _, _, err := reading.PlaceOrder(t.Context(), 1, ""); err == nil || !strings.Contains(err.Error(), "for reading only") {
		t.Errorf("place order: %v", err)
	}
	// The comparison finds what is wrong.
	shell(t, path, "UPDATE orders SET completed = completed + 1 WHERE seq = 1")
	differences, err := reading.Recount(t.Context())
	if err != nil || len(differences) != 5 || !strings.HasSuffix(differences[0], "completed is 1, its rows say 0") {
		t.Errorf("recount: %q, %v", differences, err)
	}
}

func TestReaderChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	mustClose(t, mustOpen(t, path))
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}
	r, err := sqlite.OpenReader(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	l := newLedger(r)
	if _, err := l.Totals(t.Context()); err != nil {
		t.Error(err)
	}
	if err := errors.Join(l.Close(), r.Close(), r.Close()); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the database: %v, %v", entries, err)
	}
}

func TestReaderRefuses(t *testing.T) {
	dir := t.TempDir()
	named := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(named("text.db"), []byte(strings.Repeat("no database, but a long enough text. ", 50)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(named("empty.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	shell(t, named("other.db"), "CREATE TABLE other (x)")
	mustClose(t, mustOpen(t, named("older.db")))
	shell(t, named("older.db"), "DELETE FROM goose_db_version WHERE version_id > 1")
	mustClose(t, mustOpen(t, named("newer.db")))
	shell(t, named("newer.db"), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)")
	for path, want := range map[string]string{
		"":                 "path is empty",
		named("none.db"):   "no such file",
		named("text.db"):   "not a SQLite database",
		named("empty.db"):  "it has schema 0 and this pizzamill needs 2",
		named("other.db"):  "database of another program",
		named("older.db"):  "it has schema 1 and this pizzamill needs 2",
		named("newer.db"):  "knows only up to 2",
		named("none/x.db"): "no such file",
		filepath.Dir(dir):  "is a directory",
	} {
		r, err := sqlite.OpenReader(t.Context(), path)
		if err == nil {
			mustClose(t, r)
			t.Errorf("%q was opened", path)
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error is %q, want %q in it", path, err, want)
		}
	}
	if _, err := sqlite.OpenReader(t.Context(), named("none.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := os.Stat(named("none.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file was made: %v", err)
	}
}

// A database of before there were several processes keeps its counters.
func TestTotalsAreMigrated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	db := mustOpen(t, path)
	l := newLedger(db)
	cook(t, l)
	before, err := l.Totals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	shell(t, path, "DROP TABLE processes", "DROP TABLE buses",
		"DELETE FROM goose_db_version WHERE version_id = 2",
		"DELETE FROM totals WHERE name LIKE 'unfinished:%'",
		"INSERT INTO totals (name, value) VALUES ('passed:pizza', 3), ('passed:sauce', 2), ('passed:cheese', 1)",
		"INSERT INTO meta (name, value) VALUES ('pipeline', 'pizza,sauce,cheese'), ('bus', 'gochannel//x')")
	db = mustOpen(t, path)
	defer mustClose(t, db)
	l = newLedger(db)
	defer func() { _ = l.Close() }()
	after, err := l.Totals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range before.Passed {
		if after.Passed[i] != c {
			t.Errorf("totals %+v, want %+v", after.Passed, before.Passed)
		}
	}
	if differences, err := l.Recount(t.Context()); err != nil || differences != nil {
		t.Errorf("recount: %q, %v", differences, err)
	}
	// It was on a bus of which nothing is remembered.
	if err := l.Start(t.Context(), store.Process{ID: "p", Bus: "kafka//x", Driver: "kafka", Alone: true}); err != nil {
		t.Error(err)
	}
	if differences, err := l.Recount(t.Context()); err != nil || differences != nil {
		t.Errorf("recount: %q, %v", differences, err)
	}
}
