package store

import (
	"maps"
	"time"
)

// sight is what one look at the database saw.
type sight struct {
	orders map[string]orderSight // the watched ones that exist
	totals map[string]int64
}

// orderSight is what moves when readers are shown something new of an order.
type orderSight struct {
	lastEvent               int64
	completed, deadLettered int
}

// look looks for commits of other processes, as often as was asked for and as
// long as somebody watches. All watched orders are one question, so the cost
// follows the watchers and not the events. A commit of this process is seen here
// once more, which costs its watchers a look that finds nothing. While the
// database is away, looking goes on.
func (w *watchers) look() {
	ticker := time.NewTicker(w.every)
	defer ticker.Stop()
	var before *sight
	for {
		select {
		case <-ticker.C:
		case <-w.closing.Done():
			return
		}
		orders, anybody := w.watched()
		if !anybody {
			return
		}
		now, err := w.see(orders)
		if err != nil {
			continue
		}
		w.notify(now.news(before)...)
		before = now
	}
}

// watched returns the orders that are watched by their ID, and whether anything
// is. If nothing is, the goroutine that looks ends.
func (w *watchers) watched() (orders []string, anybody bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.of) == 0 {
		w.looking = false
		return nil, false
	}
	for subject := range w.of {
		if subject != anyOrder && subject != dispatch {
			orders = append(orders, subject)
		}
	}
	return orders, true
}

func (w *watchers) see(orders []string) (*sight, error) {
	s := &sight{orders: make(map[string]orderSight, len(orders))}
	err := w.driver.View(w.closing, func(tx ReadTx) error {
		var err error
		if s.totals, err = tx.Totals(); err != nil {
			return err
		}
		rows, err := tx.Orders(orders)
		for i := range rows {
			o := &rows[i]
			s.orders[o.ID] = orderSight{lastEvent: o.LastEvent, completed: o.Completed, deadLettered: o.DeadLettered}
		}
		return err
	})
	return s, err
}

// news returns what to signal. What was not seen before may have changed before
// it was seen, but after its watcher had looked, so it counts as changed.
func (s *sight) news(before *sight) (subjects []string) {
	if before == nil {
		before = &sight{}
	}
	for id, now := range s.orders {
		if was, ok := before.orders[id]; !ok || was != now {
			subjects = append(subjects, id)
		}
	}
	if before.totals == nil || !maps.Equal(before.totals, s.totals) {
		subjects = append(subjects, anyOrder)
	}
	if s.totals[totalUndispatched] > 0 && (before.totals == nil || s.mayHaveRoom(before)) {
		subjects = append(subjects, dispatch)
	}
	return subjects
}

// mayHaveRoom reports whether work came, a lease was given back, or something in
// flight was done.
func (s *sight) mayHaveRoom(before *sight) bool {
	for _, name := range []string{totalUndispatched, totalCompleted, totalDeadLettered} {
		if s.totals[name] != before.totals[name] {
			return true
		}
	}
	return false
}

// close ends the goroutine that looks, and waits for it.
func (w *watchers) close() {
	w.mu.Lock() // so that nobody starts it any more
	w.cancel()
	w.mu.Unlock()
	w.ended.Wait()
}
