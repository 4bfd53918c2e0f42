package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
)

const (
	// maxSkip is how many numbers one chunk passes at most. It exceeds
	// ChunkSize, since after a restart most pizzas may be done already.
	maxSkip = 16 * ChunkSize
	// maxLeases is how many orders one call leases at most.
	maxLeases = 256
)

// Names of meta values in the database.
const (
	metaBus          = "bus"
	metaPipeline     = "pipeline"
	metaLastComplete = "last_complete"
	metaChecked      = "checked_at"
)

// Start makes the ledger that of a bus. If it was on another one (an in-memory
// bus is another one with every process), all open orders start again, for
// their pizzas that are neither complete nor dead-lettered. Leases of others
// are void.
func (l *Ledger) Start(ctx context.Context, bus string) error {
	return l.do(&op{
		ctx:    ctx,
		weight: 1,
		apply: func(u *unit) (outcome, abort error) {
			was, err := u.tx.Meta(metaBus)
			if err != nil {
				return nil, fmt.Errorf("look up the ledger's bus: %w", err)
			}
			open, err := u.tx.Open()
			if err != nil {
				return nil, fmt.Errorf("load open orders: %w", err)
			}
			for i := range open {
				o := u.adopt(&open[i])
				if was != bus && !breakRestart {
					o.Dispatched, o.DoneAhead = 0, o.Done()
					o.dirty = true
				}
				if o.LeaseToken != "" {
					o.LeaseToken, o.LeaseUntil = "", 0
					o.dirty = true
				}
			}
			u.meta[metaBus] = bus
			u.started = true
			if was != "" && was != bus && len(open) > 0 {
				u.l.log.Info("open orders start again: they were on another bus", "orders", len(open))
			}
			return nil, nil
		},
	})
}

// Lease takes up to want numbers to dispatch, from several orders in fair turns.
// The leases run for Options.LeaseFor by the database's clock. It returns none
// if nothing can be dispatched now.
func (l *Ledger) Lease(ctx context.Context, want int) ([]Chunk, error) {
	if want < 1 {
		return nil, nil
	}
	var chunks []Chunk
	err := l.do(&op{
		ctx:    ctx,
		weight: 1,
		apply: func(u *unit) (outcome, abort error) {
			chunks, abort = u.lease(want)
			return nil, abort
		},
	})
	if err != nil {
		return nil, err
	}
	return chunks, nil
}

func (u *unit) lease(want int) ([]Chunk, error) {
	now, err := u.tx.Now()
	if err != nil {
		return nil, fmt.Errorf("read the database's clock: %w", err)
	}
	rows, err := u.tx.Ready(now, min(want, maxLeases))
	if err != nil {
		return nil, fmt.Errorf("load orders to dispatch: %w", err)
	}
	token := rand.Text()
	var chunks []Chunk
	for i := range rows {
		o := u.adopt(&rows[i])
		if want < 1 {
			break
		}
		if !o.Ready(now) { // changed earlier in this commit
			continue
		}
		numbers, to, err := u.toDispatch(o, min(want, ChunkSize, Window-o.InFlight()))
		if err != nil {
			return nil, err
		}
		want -= len(numbers)
		if o.Turn, err = u.nextTurn(); err != nil {
			return nil, err
		}
		o.LeaseToken, o.LeaseUntil = token, now+u.l.leaseFor.Milliseconds()
		o.dirty = true
		chunks = append(chunks, Chunk{Order: o.ID, Numbers: numbers, To: to, Token: token})
	}
	return chunks, nil
}

// toDispatch returns up to n numbers behind the cursor whose pizzas are not done,
// and where the cursor goes once they are on the bus.
func (u *unit) toDispatch(o *order, n int) (numbers []int, to int, err error) {
	end := min(o.Count, o.Dispatched+maxSkip)
	done, err := u.doneBetween(o, o.Dispatched, end)
	if err != nil {
		return nil, 0, err
	}
	to = o.Dispatched
	for to < end && len(numbers) < n {
		to++
		if _, skip := slices.BinarySearch(done, to); !skip {
			numbers = append(numbers, to)
		}
	}
	return numbers, to, nil
}

// doneBetween returns the numbers above after and up to last of the pizzas of an
// order that are done, ascending, those of this commit included.
func (u *unit) doneBetween(o *order, after, last int) ([]int, error) {
	if o.DoneAhead == 0 {
		return nil, nil
	}
	done, err := u.tx.Done(o.Seq, after, last)
	if err != nil {
		return nil, fmt.Errorf("load done pizzas of order %s: %w", o.ID, err)
	}
	for _, p := range u.pizzas {
		if p.order == o && p.done() && !p.wasDone && p.Number > after && p.Number <= last {
			done = append(done, p.Number)
		}
	}
	slices.Sort(done)
	return done, nil
}

// nextTurn is behind all orders that wait for their turn.
func (u *unit) nextTurn() (int64, error) {
	if u.lastTurn == 0 {
		var err error
		if u.lastTurn, err = u.tx.LastTurn(); err != nil {
			return 0, fmt.Errorf("look up the last turn: %w", err)
		}
	}
	u.lastTurn++
	return u.lastTurn, nil
}

// Dispatched moves the cursors of chunks whose numbers are on the bus, and
// gives their leases back. ErrLeaseLost if one of them ran out and another
// relay has the order, or it started again; the others are moved.
func (l *Ledger) Dispatched(ctx context.Context, chunks []Chunk) error {
	if len(chunks) == 0 {
		return nil
	}
	return l.do(&op{
		ctx:    ctx,
		weight: len(chunks),
		need: func(n *needs) {
			for _, c := range chunks {
				n.order(c.Order)
			}
		},
		apply: func(u *unit) (outcome, abort error) {
			var lost []error
			for _, c := range chunks {
				err, abort := u.dispatched(c)
				if abort != nil {
					return nil, abort
				}
				if err != nil {
					lost = append(lost, err)
				}
			}
			return errors.Join(lost...), nil
		},
	})
}

func (u *unit) dispatched(c Chunk) (outcome, abort error) {
	o := u.orders[c.Order]
	switch {
	case o == nil:
		return fmt.Errorf("order %s: %w", c.Order, ErrNotFound), nil
	case o.LeaseToken == "" || o.LeaseToken != c.Token:
		return fmt.Errorf("order %s: %w", c.Order, ErrLeaseLost), nil
	}
	done, err := u.doneBetween(o, o.Dispatched, c.To)
	if err != nil {
		return nil, err
	}
	o.Dispatched = max(o.Dispatched, min(c.To, o.Count))
	o.DoneAhead -= len(done)
	o.LeaseToken, o.LeaseUntil = "", 0
	o.dirty = true
	return nil, nil
}
