package ui

import (
	"context"
	"sync"
	"time"

	"github.com/pizzamill/pizzamill/platform/store"
)

// How often the store is asked whether it can be read, and how long it has for
// its answer.
const (
	storeEvery    = 2 * time.Second
	storePatience = 3 * time.Second
)

// storeWatch knows since when the store cannot be read. All tabs ask it, and it
// asks the store once for all of them: a page on which nothing moves would
// hardly notice otherwise. ask and now must be set.
type storeWatch struct {
	ask func(context.Context) error
	now func() time.Time

	mu    sync.Mutex
	asked time.Time
	away  time.Time // zero while it can be read
}

func watchStore(l *store.Ledger, now func() time.Time) *storeWatch {
	return &storeWatch{now: now, ask: func(ctx context.Context) error {
		_, err := l.Totals(ctx)
		return err
	}}
}

// since returns what is known, at most storeEvery old; older while another
// caller is asking.
func (w *storeWatch) since(ctx context.Context) time.Time {
	w.mu.Lock()
	known, fresh := w.away, time.Since(w.asked) < storeEvery
	if !fresh {
		w.asked = time.Now()
	}
	w.mu.Unlock()
	if fresh {
		return known
	}
	patient, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	err := w.ask(patient)
	switch {
	case ctx.Err() != nil: // it was the browser that went
		return known
	case err != nil:
		return w.failed()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away = time.Time{}
	return w.away
}

// failed is told of a read that did, and returns since when they do.
func (w *storeWatch) failed() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away.IsZero() {
		w.away = w.now()
	}
	return w.away
}
