package postgres_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/pizzamill/pizzamill/internal/testservice"
	"github.com/pizzamill/pizzamill/platform/store"
	"github.com/pizzamill/pizzamill/platform/store/postgres"
)

// two are two processes with one database.
func two(t *testing.T) (db, peer *postgres.DB) {
	t.Helper()
	dsn := testservice.Database(t)
	db, peer = open(t, dsn), open(t, dsn)
	t.Cleanup(func() {
		if err := errors.Join(db.Close(), peer.Close()); err != nil {
			t.Error(err)
		}
	})
	return db, peer
}

func mustUpdate(t *testing.T, db *postgres.DB, fn func(store.Tx) error) {
	t.Helper()
	if err := db.Update(context.Background(), fn); err != nil {
		t.Error(err)
	}
}

func write(c *store.Changes) func(store.Tx) error {
	return func(tx store.Tx) error { return tx.Write(c) }
}

func TestConflictsAreTold(t *testing.T) {
	db, peer := two(t)
	insert := func(key string) func(store.Tx) error {
		return write(&store.Changes{NewKeys: []*store.KeyRow{{Key: key, Order: "o", Count: 1}}})
	}
	mustUpdate(t, peer, insert("a"))
	if err := db.Update(t.Context(), insert("a")); !errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("the same key: %v", err)
	}
	mustUpdate(t, db, insert("b")) // the connection is good
	// Two that lock in opposite order.
	mustUpdate(t, db, write(&store.Changes{NewOrders: []*store.OrderRow{{ID: "a", Count: 1}, {ID: "b", Count: 1}}}))
	meet := make(chan struct{})
	errs := make([]error, 2)
	var wg sync.WaitGroup
	for i, d := range []*postgres.DB{db, peer} {
		wg.Go(func() {
			errs[i] = d.Update(context.Background(), func(tx store.Tx) error {
				for n, id := range []string{"a", "b", "a"}[i : i+2] {
					if _, err := tx.Orders([]string{id}); err != nil {
						return err
					}
					if n == 0 {
						select {
						case meet <- struct{}{}:
						case <-meet:
						}
					}
				}
				return nil
			})
		})
	}
	wg.Wait()
	conflicts := 0
	for _, err := range errs {
		if errors.Is(err, store.ErrConflict) {
			conflicts++
		} else if err != nil {
			t.Error(err)
		}
	}
	if conflicts != 1 {
		t.Errorf("deadlock: %v", errs)
	}
}

// A letter of nobody's order has no order's lock to stand under.
func TestALetterIsNotWrittenOverUnseen(t *testing.T) {
	db, peer := two(t)
	letter := func(requeues int) *store.Changes {
		return &store.Changes{Letters: []*store.DeadLetter{{ID: "x", Status: store.LetterDead, Requeues: requeues}}}
	}
	look := func(tx store.Tx) (store.DeadLetter, bool) {
		d, ok, err := tx.Letter("x")
		if err != nil {
			t.Error(err)
		}
		return d, ok
	}
	err := db.Update(t.Context(), func(tx store.Tx) error {
		if _, ok := look(tx); ok {
			t.Error("it is there already")
		}
		mustUpdate(t, peer, func(tx store.Tx) error {
			look(tx)
			return tx.Write(letter(1))
		})
		return tx.Write(letter(0))
	})
	if !errors.Is(err, store.ErrConflict) {
		t.Errorf("who is second to write a new one: %v", err)
	}
	saw := make(chan int, 1)
	var second sync.WaitGroup
	mustUpdate(t, db, func(tx store.Tx) error {
		look(tx)
		second.Go(func() {
			mustUpdate(t, peer, func(tx store.Tx) error {
				d, _ := look(tx)
				saw <- d.Requeues
				return nil
			})
		})
		select {
		case n := <-saw:
			t.Errorf("who is second sees %d requeues before the first one has written", n)
			saw <- n
		case <-time.After(100 * time.Millisecond): // it waits
		}
		return tx.Write(letter(2))
	})
	second.Wait()
	if n := <-saw; n != 2 {
		t.Errorf("who is second sees %d requeues", n)
	}
}
