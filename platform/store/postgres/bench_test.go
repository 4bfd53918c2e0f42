package postgres_test

import (
	"testing"

	"github.com/pizzamill/pizzamill/internal/testservice"
	"github.com/pizzamill/pizzamill/platform/store/storetest"
)

func BenchmarkLine(b *testing.B) { storetest.BenchLine(b, open(b, testservice.Database(b))) }

func BenchmarkLineOfTwoProcesses(b *testing.B) {
	dsn := testservice.Database(b)
	storetest.BenchLine(b, open(b, dsn), open(b, dsn))
}

func BenchmarkPlaceOrder(b *testing.B) {
	storetest.BenchPlaceOrder(b, open(b, testservice.Database(b)))
}
