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

// What is always in the way is not waited for without end, and is nobody's fault.
func TestConflictsWithoutEndAreUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, takes := range map[string]time.Duration{"at once": 0, "after waiting for a lock": 4 * time.Second} {
			l, d := blankLedger(t, func() { <-time.After(takes) })
			d.fails = func() error { return store.ErrConflict }
			began := time.Now()
			_, err := l.Advance(t.Context(), []store.Fact{{}})
			if !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s: %v", name, err)
			}
			if took, n := time.Since(began), d.commits.Load(); took > 15*time.Second || n > 20 {
				t.Errorf("%s: took %v and %d attempts", name, took, n)
			}
			_ = l.Close()
		}
	})
}
