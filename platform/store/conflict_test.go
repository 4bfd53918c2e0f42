package store_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pizzamill/pizzamill/platform/store"
)

func TestACommitInAnothersWayIsDoneAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, d := blankLedger(t, func() {})
		defer func() { _ = l.Close() }()
		left := 5
		d.fails = func() error {
			if left == 0 {
				return nil
			}
			left--
			return fmt.Errorf("insert: %w", store.ErrConflict)
		}
		advance(t, l)
		if got := d.commits.Load(); got != 6 {
			t.Errorf("%d attempts", got)
		}
	})
}

// What is always in the way is not waited for without end. A row that is there
// already is in the way of one call, a lock perhaps of all.
func TestConflictsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			takes  time.Duration
			forAll bool
		}{"at once": {0, false}, "after waiting for a lock": {4 * time.Second, true}} {
			l, d := blankLedger(t, func() { <-time.After(c.takes) })
			d.fails = func() error { return store.ErrConflict }
			began := time.Now()
			_, err := l.Advance(t.Context(), []store.Fact{{}})
			if !errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrUnavailable) != c.forAll {
				t.Errorf("%s: %v", name, err)
			}
			if took, n := time.Since(began), d.commits.Load(); took > 15*time.Second || n > 20 {
				t.Errorf("%s: took %v and %d attempts", name, took, n)
			}
			_ = l.Close()
		}
	})
}

// Members that are done one by one must not each wait as long as all together.
func TestConflictsOfManyEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct{ takes, limit time.Duration }{
			"at once":                  {0, 2 * time.Second},
			"after waiting for a lock": {4 * time.Second, 40 * time.Second}, // the first one, the others together, one of them
		} {
			l, d := blankLedger(t, func() { <-time.After(c.takes) })
			d.fails = func() error { return store.ErrConflict }
			began := time.Now()
			errs := make(chan error)
			for i := range 100 {
				go func() { _, _, err := l.PlaceOrder(t.Context(), 1, fmt.Sprint(i)); errs <- err }()
			}
			for range 100 {
				if err := <-errs; !errors.Is(err, store.ErrConflict) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if took := time.Since(began); took > c.limit {
				t.Errorf("%s: took %v", name, took)
			}
			_ = l.Close()
		}
	})
}
