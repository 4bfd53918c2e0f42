package postgres_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pizzamill/pizzamill/internal/testservice"
	"github.com/pizzamill/pizzamill/platform/pg"
	"github.com/pizzamill/pizzamill/platform/store"
	"github.com/pizzamill/pizzamill/platform/store/postgres"
)

// shell runs a statement beside pizzamill.
func shell(t testing.TB, dsn, sql string, args ...any) {
	t.Helper()
	c, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	if _, err := c.Exec(context.Background(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefusesWithoutShowingTheSecret(t *testing.T) {
	const secret = "s3cr3t"
	for dsn, want := range map[string]string{
		"":    "[store] dsn is empty",
		"  ":  "[store] dsn is empty",
		"foo": "malformed",
		"postgres://user:" + secret + "@host:port/db":                       "port",
		"postgres://user:a/" + secret + "@host/db":                          "percent-encoded",
		"postgres://user:1/" + secret + "@host/db":                          "percent-encoded",
		"postgres://user:" + secret + "@host/db?sslmode=" + secret:          "sslmode is none of",
		"postgres://user:%zz" + secret + "@host/db":                         "malformed",
		"host=h password='" + secret:                                        "malformed",
		"postgres://user:" + secret + "@host/db?pool_max_conns=" + secret:   "malformed",
		"postgres://user@host/db?sslmode=verify-full&sslrootcert=" + secret: "malformed",
	} {
		_, err := postgres.Open(dsn, false)
		if err == nil {
			t.Errorf("%q was opened", dsn)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("error is %q, want %q in it and no secret", err, want)
		}
	}
}

func TestOpenConnectsToNothing(t *testing.T) {
	const secret = "s3cr3t"
	db, err := postgres.Open("postgres://user:"+secret+"@127.0.0.1:1/db?sslmode=disable", false)
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"update":  db.Update(t.Context(), func(store.Tx) error { return errors.New("ran") }),
		"view":    db.View(t.Context(), func(store.ReadTx) error { return errors.New("ran") }),
		"prepare": db.Prepare(t.Context()),
	} {
		if !errors.Is(err, store.ErrUnavailable) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := errors.Join(db.Close(), db.Close()); err != nil {
		t.Error(err)
	}
	if err := db.Prepare(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("prepare after close: %v", err)
	}
}

// Wrong names and passwords may be made right while a process waits.
func TestPrepareWaitsForWhatIsNotThereYet(t *testing.T) {
	dsn := testservice.Database(t)
	db, err := postgres.Open(dsn+"&dbname=not_there_"+t.Name(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.Prepare(t.Context()); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("prepare: %v", err)
	}
}

// Several processes that migrate at once need a lock around all of it.
func TestManyPrepareAtOnce(t *testing.T) {
	dsn := testservice.Database(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			db, err := postgres.Open(dsn, false)
			if err != nil {
				t.Error(err)
				return
			}
			if err := db.Prepare(t.Context()); err != nil {
				t.Error(err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestPrepareRefuses(t *testing.T) {
	t.Run("a newer schema", func(t *testing.T) {
		dsn := testservice.Database(t)
		if err := open(t, dsn).Close(); err != nil {
			t.Fatal(err)
		}
		shell(t, dsn, `INSERT INTO pizzamill_ledger_version (version_id, is_applied) VALUES (999, true)`)
		db, err := postgres.Open(dsn, false)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		var newer *pg.NewerError
		err = db.Prepare(t.Context())
		if !errors.As(err, &newer) || newer.Have != 999 || errors.Is(err, store.ErrUnavailable) {
			t.Errorf("prepare: %v", err)
		}
	})
	t.Run("another program's tables", func(t *testing.T) {
		dsn := testservice.Database(t)
		shell(t, dsn, `CREATE TABLE orders (x int)`)
		db, err := postgres.Open(dsn, false)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		if err := db.Prepare(t.Context()); err == nil || errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "another program") {
			t.Errorf("prepare: %v", err)
		}
	})
}

// What a 2xx promises hangs on this one, whatever the database is set to.
func TestWriterIsDurable(t *testing.T) {
	dsn := testservice.Database(t)
	shell(t, dsn, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$`)
	db := open(t, dsn)
	defer func() { _ = db.Close() }()
	if got := db.WriterSetting(t, "synchronous_commit"); got != "on" {
		t.Errorf("synchronous_commit is %s", got)
	}
}

func TestTwoLedgersInOneDatabase(t *testing.T) {
	dsn := testservice.Database(t)
	shell(t, dsn, `CREATE SCHEMA other`)
	first, second := openExclusive(t, dsn), openExclusive(t, dsn+"&search_path=other")
	for _, db := range []*postgres.DB{first, second} {
		if err := db.Prepare(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
