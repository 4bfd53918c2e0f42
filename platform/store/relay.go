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
	metaLastComplete = "last_complete"
	metaChecked      = "checked_at"
)

// Lease takes up to want numbers to dispatch, from several orders in fair turns.
// The leases run for Options.LeaseFor by the database's clock. It returns none
// if nothing can be dispatched now, and ErrLeftBehind unless the ledger is on
// the bus that this process has started on.
func (l *Ledger) Lease(ctx context.Context, want int) ([]Chunk, error) {
	if want < 1 {
		return nil, nil
	}
	var chunks []Chunk
	err := l.do(&op{
		ctx:    ctx,
		weight: 1,
		need: func(n *needs) {
			n.bus = max(n.bus, stayOnBus)
			n.ready = max(n.ready, min(want, maxLeases))
		},
		apply: func(u *unit) (outcome, abort error) {
			chunks = nil
			if outcome, abort = u.onItsBus(); outcome == nil && abort == nil {
				chunks, abort = u.lease(want)
			}
			return outcome, abort
		},
	})
	if err != nil {
		return nil, err
	}
	return chunks, nil
}

// lookForWork finds up to limit orders that can be leased, so that they are
// locked together with all others that the commit is about.
func (u *unit) lookForWork(limit int) error {
	if limit < 1 {
		return nil
	}
	now, err := u.now()
	if err != nil {
		return err
	}
	rows, err := u.tx.Ready(now, limit)
	if err != nil {
		return fmt.Errorf("look for orders to dispatch: %w", err)
	}
	for i := range rows {
		u.ready = append(u.ready, rows[i].ID)
	}
	return nil
}

func (u *unit) lease(want int) ([]Chunk, error) {
	now, err := u.now()
	if err != nil {
		return nil, err
	}
	token := rand.Text()
	var chunks []Chunk
	for _, id := range u.ready {
		if want < 1 {
			break
		}
		o := u.orders[id]
		if o == nil || !o.Ready(now) { // leased or filled up before it was locked, or earlier in this commit
			continue
		}
		numbers, to, err := u.toDispatch(o, min(want, ChunkSize, Window-o.InFlight()))
		if err != nil {
			return nil, err
		}
		want -= len(numbers)
		before := o.Turn
		if o.Turn, err = u.nextTurn(); err != nil {
			return nil, err
		}
		o.LeaseToken, o.LeaseUntil = token, now+u.l.leaseFor.Milliseconds()
		o.dirty = true
		chunks = append(chunks, Chunk{Order: o.ID, Numbers: numbers, To: to, Token: token, turn: before})
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
	if c.To == 0 && !c.Behind { // whoever waited for a broker longest goes first when it is back
		o.Turn = c.turn
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
