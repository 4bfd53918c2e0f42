package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/pizzamill/pizzamill/platform/store"
	"github.com/pizzamill/pizzamill/platform/store/sqlite"
	"github.com/pizzamill/pizzamill/platform/store/storetest"
)

func benchDB(b *testing.B) store.Driver {
	b.Helper()
	db, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "bench.db"))
	if err != nil {
		b.Fatal(err)
	}
	return db
}

func BenchmarkLine(b *testing.B)       { storetest.BenchLine(b, benchDB(b)) }
func BenchmarkPlaceOrder(b *testing.B) { storetest.BenchPlaceOrder(b, benchDB(b)) }
