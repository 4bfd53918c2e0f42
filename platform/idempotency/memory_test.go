package idempotency_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pizzamill/pizzamill/platform/idempotency"
)

// process handles one event and reports whether it was new.
func process(t *testing.T, r idempotency.Records, id string, ok bool) bool {
	t.Helper()
	processed, end, err := r.Begin(t.Context(), "", id)
	if err != nil {
		t.Fatal(err)
	}
	if processed {
		return false
	}
	end(ok)
	return true
}

func TestOnlySuccessIsRemembered(t *testing.T) {
	m := idempotency.NewMemory(10)
	if !process(t, m, "o-1/pizza", false) || !process(t, m, "o-1/pizza", true) {
		t.Error("a failed event counts as processed")
	}
	if process(t, m, "o-1/pizza", true) {
		t.Error("a processed event is processed again")
	}
}

func TestOldestAreForgotten(t *testing.T) {
	m := idempotency.NewMemory(3)
	for i := range 5 {
		process(t, m, fmt.Sprint(i), true)
	}
	for i := 2; i < 5; i++ {
		if process(t, m, fmt.Sprint(i), true) {
			t.Errorf("event %d of the last three is forgotten", i)
		}
	}
	if !process(t, m, "0", true) {
		t.Error("the oldest is remembered beyond the size")
	}
}

func TestCopiesWaitForTheOneInHand(t *testing.T) {
	m := idempotency.NewMemory(10)
	var runs atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			processed, end, err := m.Begin(t.Context(), "", "o-1/pizza")
			if err != nil {
				t.Error(err)
				return
			}
			if !processed {
				runs.Add(1)
				end(true)
			}
		})
	}
	wg.Wait()
	if runs.Load() != 1 {
		t.Errorf("ran %d times", runs.Load())
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	m := idempotency.NewMemory(10)
	_, end, err := m.Begin(t.Context(), "", "o-1/pizza")
	if err != nil {
		t.Fatal(err)
	}
	defer end(false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := m.Begin(ctx, "", "o-1/pizza"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A broker may become another one behind the same address. What was processed
// on the old one says nothing about the events of the new one: their output is
// gone.
func TestRecordsAreThoseOfTheBus(t *testing.T) {
	m := idempotency.NewMemory(10)
	for _, bus := range []string{"kafka//1", "kafka//2"} {
		processed, end, err := m.Begin(t.Context(), bus, "o-1/pizza")
		if err != nil || processed {
			t.Fatalf("%s: processed %t, error %v", bus, processed, err)
		}
		end(true)
	}
	if processed, _, err := m.Begin(t.Context(), "kafka//1", "o-1/pizza"); err != nil || !processed {
		t.Errorf("again: processed %t, error %v", processed, err)
	}
}
