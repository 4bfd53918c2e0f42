package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
)

// book is the ledger that the loader keeps outside the server: what it asked
// for and what it was told. It is safe for concurrent use.
type book struct {
	t testing.TB

	mu       sync.Mutex
	answered map[string]int    // order ID → count, of every 2xx
	keys     map[string]string // idempotency key → order ID, of every 2xx
	open     []request         // with a key and without an answer: asked again until there is one
	maybe    []int             // counts without key and answer: each is an order, or is not
	refused  int               // answers that promise that nothing was taken
	asked    int
}

// request is one order to place; an empty key is none.
type request struct {
	count int
	key   string
}

func newBook(t testing.TB) *book {
	return &book{t: t, answered: map[string]int{}, keys: map[string]string{}}
}

// pizzas is how many pizzas were promised.
func (b *book) pizzas() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	sum := 0
	for _, n := range b.answered {
		sum += n
	}
	return sum
}

// next makes up a request: three of four have a key, and sizes go from 1 to
// most, small ones more often.
func (b *book) next(most int) request {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	r := request{count: 1 + int(float64(most)*cube(rand.Float64()))}
	if b.asked%4 != 0 {
		r.key = fmt.Sprintf("loader %d", b.asked)
	}
	return r
}

func cube(x float64) float64 { return x * x * x }

// place sends a request and writes down the answer. It returns the order's ID,
// "" if none was taken, and false if the server could not be talked to.
func (b *book) place(ctx context.Context, s *server, r request) (string, bool) {
	status, id, err := s.postOrder(ctx, r.count, r.key)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err != nil && r.key != "":
		b.open = append(b.open, r)
	case err != nil:
		b.maybe = append(b.maybe, r.count)
	case status == http.StatusAccepted && id != "":
		b.write(r, id)
		return id, true
	case status == http.StatusServiceUnavailable:
		b.refused++
	default:
		b.t.Errorf("order of %d: status %d, Location names %q", r.count, status, id)
	}
	return "", err == nil
}

// write notes a 2xx. b.mu is held.
func (b *book) write(r request, id string) {
	if before, ok := b.keys[r.key]; ok && r.key != "" && before != id {
		b.t.Errorf("key %q gave order %s and then %s", r.key, before, id)
	}
	if n, ok := b.answered[id]; ok && (r.key == "" || n != r.count) {
		b.t.Errorf("order %s was answered twice: for %d and for %d pizzas", id, n, r.count)
	}
	b.answered[id] = r.count
	if r.key != "" {
		b.keys[r.key] = id
	}
}

// takeOpen removes and returns the requests that wait for an answer.
func (b *book) takeOpen() []request {
	b.mu.Lock()
	defer b.mu.Unlock()
	open := b.open
	b.open = nil
	return open
}

// settle repeats every request whose answer is unknown; the server must be up.
func (b *book) settle(ctx context.Context, s *server) {
	for _, r := range b.takeOpen() {
		if _, ok := b.place(ctx, s, r); !ok {
			b.t.Fatalf("an order of %d could not be settled with the server up", r.count)
		}
	}
}

// load is what the loader does to a server.
type load struct {
	budget int  // about how many pizzas it asks for
	most   int  // pizzas in one order
	follow bool // whether it watches every other order to its end before it asks for more
}

// run places orders, eight at a time, until the budget is spent, the server is
// gone or ctx ends. Every answer that is missing from before is asked for first,
// and one key in ten twice. accepted is called after each answer.
func (b *book) run(ctx context.Context, s *server, l load, accepted func()) {
	work, gone := make(chan request), make(chan struct{})
	var workers sync.WaitGroup
	var once sync.Once
	for range 8 {
		workers.Go(func() {
			for r := range work {
				id, ok := b.place(ctx, s, r)
				if ok && r.key != "" && rand.IntN(10) == 0 {
					_, ok = b.place(ctx, s, r)
				}
				if !ok {
					once.Do(func() { close(gone) })
					continue
				}
				accepted()
				if l.follow && id != "" && rand.IntN(2) == 0 {
					// That it breaks off is what a crash does.
					_, _ = s.awaitOrder(ctx, id, "complete")
				}
			}
		})
	}
	b.feed(ctx, work, gone, l)
	close(work)
	workers.Wait()
}

func (b *book) feed(ctx context.Context, work chan<- request, gone <-chan struct{}, l load) {
	pending, budget := b.takeOpen(), l.budget
	for budget > 0 || len(pending) > 0 {
		var r request
		if len(pending) > 0 {
			r, pending = pending[0], pending[1:]
		} else {
			r = b.next(l.most)
			budget -= r.count
		}
		select {
		case work <- r:
			continue
		case <-gone:
		case <-ctx.Done():
		}
		// What could not be sent is asked for later. Without a key that would
		// be another order.
		b.mu.Lock()
		b.open = append(b.open, pending...)
		if r.key != "" {
			b.open = append(b.open, r)
		}
		b.mu.Unlock()
		return
	}
}
