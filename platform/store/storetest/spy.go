package storetest

import (
	"context"
	"sync"
	"time"

	"github.com/pizzamill/pizzamill/platform/store"
)

// spy is a driver that a test looks through: it counts what is written, can hold
// or fail a commit, and tell the time.
type spy struct {
	store.Driver

	mu     sync.Mutex
	writes []sizes
	before func(*store.Changes) error // called before each write, if set
	opened func()                     // called after open orders were read, if set
	ahead  time.Duration              // by how much the database's clock is, for who writes
}

// sizes are how many rows a commit wrote.
type sizes struct{ NewOrders, Orders, Pizzas, NewFacts, FilledFacts int }

func (s *spy) Update(ctx context.Context, fn func(store.Tx) error) error {
	return s.Driver.Update(ctx, func(tx store.Tx) error { return fn(&spyTx{tx, s}) })
}

type spyTx struct {
	store.Tx
	spy *spy
}

func (t *spyTx) Open() ([]store.OrderRow, error) {
	rows, err := t.Tx.Open()
	t.spy.mu.Lock()
	opened := t.spy.opened
	t.spy.mu.Unlock()
	if opened != nil {
		opened()
	}
	return rows, err
}

func (t *spyTx) Now() (int64, error) {
	now, err := t.Tx.Now()
	t.spy.mu.Lock()
	defer t.spy.mu.Unlock()
	return now + t.spy.ahead.Milliseconds(), err
}

func (t *spyTx) Write(c *store.Changes) error {
	t.spy.mu.Lock()
	before := t.spy.before
	t.spy.writes = append(t.spy.writes, sizes{
		len(c.NewOrders), len(c.Orders), len(c.Pizzas), len(c.NewFacts), len(c.FilledFacts),
	})
	t.spy.mu.Unlock()
	if before != nil {
		if err := before(c); err != nil {
			return err
		}
	}
	return t.Tx.Write(c)
}

// take returns what was written since the last call.
func (s *spy) take() []sizes {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.writes
	s.writes = nil
	return w
}

func (s *spy) setBefore(fn func(*store.Changes) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = fn
}

func (s *spy) setOpened(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened = fn
}

// pass moves the database's clock on.
func (s *spy) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += d
}

// hold makes the next commit wait: entered is closed once it does, and release
// lets it go on. Later commits go through before, if it is set.
func (s *spy) hold(before func(*store.Changes) error) (entered <-chan struct{}, release func()) {
	in, out := make(chan struct{}), make(chan struct{})
	held := false
	s.setBefore(func(c *store.Changes) error { // called by the ledger's writer alone
		if !held {
			held = true
			close(in)
			<-out
			return nil
		}
		if before == nil {
			return nil
		}
		return before(c)
	})
	return in, sync.OnceFunc(func() { close(out) })
}

// queued is a context whose Done is asked for when its call stands in the queue.
type queued struct {
	context.Context
	waits chan struct{}
}

func newQueued(ctx context.Context) queued { return queued{ctx, make(chan struct{}, 16)} }

func (q queued) Done() <-chan struct{} {
	select {
	case q.waits <- struct{}{}:
	default:
	}
	return q.Context.Done()
}
