package postgres_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/pizzamill/pizzamill/internal/testservice"
	"github.com/pizzamill/pizzamill/platform/store"
	"github.com/pizzamill/pizzamill/platform/store/postgres"
	"github.com/pizzamill/pizzamill/platform/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a database that is ready.
func open(t testing.TB, dsn string) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(dsn, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestConformance(t *testing.T) {
	t.Parallel() // beside those that wait for a server that hangs
	database := testservice.Database(t)
	var schemas atomic.Int32
	storetest.Run(t, func(t *testing.T) storetest.Open {
		// A schema costs a hundredth of a database.
		schema := fmt.Sprint("case_", schemas.Add(1))
		shell(t, database, `CREATE SCHEMA `+schema)
		dsn := database + "&search_path=" + schema
		return func(t *testing.T) store.Driver { return open(t, dsn) }
	})
}
