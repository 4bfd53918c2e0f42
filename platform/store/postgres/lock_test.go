package postgres_test

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pizzamill/pizzamill/internal/testservice"
	"github.com/pizzamill/pizzamill/platform/pg/pgtest"
	"github.com/pizzamill/pizzamill/platform/store"
	"github.com/pizzamill/pizzamill/platform/store/postgres"
)

func openExclusive(t testing.TB, dsn string) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(dsn, true)
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

func set(value string) func(store.Tx) error {
	return func(tx store.Tx) error { return tx.Write(&store.Changes{Meta: map[string]string{"value": value}}) }
}

func value(t testing.TB, db *postgres.DB) (v string) {
	t.Helper()
	err := db.View(t.Context(), func(tx store.ReadTx) (err error) {
		v, err = tx.Meta("value")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestASecondProcessIsToldWhoHasTheLedger(t *testing.T) {
	t.Parallel()
	dsn := testservice.Database(t)
	first := openExclusive(t, dsn)
	if err := first.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := openExclusive(t, dsn)
	err := second.Prepare(t.Context())
	var held *postgres.InUseError
	if !errors.As(err, &held) || errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("prepare: %v", err)
	}
	if !strings.HasPrefix(held.Name, "pizzamill "+strconv.Itoa(os.Getpid())) || held.Session == 0 ||
		held.Address != "127.0.0.1" || time.Since(held.Since).Abs() > time.Minute || !strings.HasPrefix(held.Database, "pizzamill_test_") {
		t.Errorf("holder is %+v", held)
	}
	shared := open(t, dsn) // a process on a broker: the ledger's bus keeps the two apart
	if err := shared.Close(); err != nil {
		t.Error(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := second.Prepare(t.Context()); err != nil {
		t.Errorf("after the first one has gone: %v", err)
	}
}

func TestInUseErrorSaysWhatToDo(t *testing.T) {
	since := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for want, err := range map[string]error{
		"the ledger in database x is in use by pizzamill 7 on h at 10.0.0.1 (server process 12, since 2026-11-23T10:00:00Z); stop it, or choose another [store] dsn": &postgres.InUseError{Database: "x", Name: "pizzamill 7 on h", Address: "10.0.0.1", Session: 12, Since: since},
		"the ledger in database x is in use by another process; stop it, or choose another [store] dsn":                                                              &postgres.InUseError{Database: "x"},
	} {
		if err.Error() != want {
			t.Errorf("error is %q, want %q", err, want)
		}
	}
}

// Who writes has the lock, also after its connection broke.
func TestALostLockIsTakenAgainOrNothingIsWritten(t *testing.T) {
	t.Parallel()
	dsn := testservice.Database(t)
	proxy, through := pgtest.New(t, dsn)
	first := openExclusive(t, through)
	if err := first.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	proxy.Break()
	if err := first.Update(t.Context(), set("again")); err != nil {
		t.Fatalf("update after the connection broke: %v", err)
	}
	second := openExclusive(t, dsn)
	var held *postgres.InUseError
	if err := second.Prepare(t.Context()); !errors.As(err, &held) {
		t.Fatalf("the lock was not taken again: %v", err)
	}

	proxy.Cut() // long enough for the other one
	if err := second.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	proxy.Restore()
	err := first.Update(t.Context(), set("without the lock"))
	if !errors.As(err, &held) || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("update without the lock: %v", err)
	}
	if got := value(t, second); got != "again" {
		t.Errorf("value is %q", got)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if err := first.Update(t.Context(), set("alone")); err != nil {
		t.Errorf("update after the other one has gone: %v", err)
	}
}
