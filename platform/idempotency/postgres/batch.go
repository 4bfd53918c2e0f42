package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pizzamill/pizzamill/platform/pg"
)

// ask is one question to the table, or one record for it.
type ask struct {
	scope  int32
	event  string
	record time.Time // until when it is worth writing; zero: it is a question

	found bool
	err   error
	done  chan struct{} // closed once found and err are valid
}

func (a *ask) finish(err error) {
	a.err = err
	close(a.done)
}

const (
	// maxBatch bounds one message to the server.
	maxBatch = 1000
	// firstPause is how long the worker pauses after a failure; the next ones
	// double, up to maxPause.
	firstPause = 20 * time.Millisecond
	maxPause   = 500 * time.Millisecond
)

// enqueue hands an ask to the worker.
func (db *DB) enqueue(a *ask) error {
	a.done = make(chan struct{})
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return errClosed
	}
	db.queue = append(db.queue, a)
	db.mu.Unlock()
	db.signal()
	return nil
}

func (db *DB) signal() {
	select {
	case db.wake <- struct{}{}:
	default:
	}
}

func (db *DB) take() []*ask {
	db.mu.Lock()
	defer db.mu.Unlock()
	n := min(len(db.queue), maxBatch)
	batch := db.queue[:n:n]
	if db.queue = db.queue[n:]; len(db.queue) == 0 {
		db.queue = nil
	}
	return batch
}

// work is the goroutine that talks to the table. Whatever waits when an answer
// has come is the next message. When the database is closed it works off what
// waits, as far as that goes.
func (db *DB) work() {
	pause := firstPause
	for {
		batch := db.take()
		if len(batch) == 0 {
			select {
			case <-db.wake:
				continue
			case <-db.running.Done():
				return
			}
		}
		err := db.exchange(batch)
		if err == nil {
			pause = firstPause
			for _, a := range batch {
				a.finish(nil)
			}
			continue
		}
		db.giveBack(batch, err)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-db.running.Done():
			timer.Stop()
		}
		pause = min(2*pause, maxPause)
	}
}

// giveBack answers a batch that failed: who asks is told, since the stage waits
// by itself, and what is to be recorded is tried again while it is worth it.
func (db *DB) giveBack(batch []*ask, err error) {
	var again []*ask
	for _, a := range batch {
		if a.record.After(time.Now()) && db.running.Err() == nil {
			again = append(again, a)
		} else {
			a.finish(err)
		}
	}
	if len(again) == 0 {
		return
	}
	db.mu.Lock()
	db.queue = append(again, db.queue...)
	db.mu.Unlock()
}

// exchange asks and records in one message. Both may be repeated, so a
// connection that turns out to be broken is replaced once.
func (db *DB) exchange(batch []*ask) error {
	err := db.send(batch)
	if pg.Broken(err) {
		db.pool.Reset()
		err = db.send(batch)
	}
	return err
}

const (
	look = `SELECT a.place FROM unnest($1::int4[], $2::text[]) WITH ORDINALITY AS a (scope, event, place)
		WHERE EXISTS (SELECT FROM processed_events p WHERE p.scope = a.scope AND p.event = a.event)`
	note = `INSERT INTO processed_events (scope, event) SELECT * FROM unnest($1::int4[], $2::text[]) ON CONFLICT DO NOTHING`
)

// roundTrip is how long one answer may take.
const roundTrip = 5 * time.Second

func (db *DB) send(batch []*ask) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(db.running), roundTrip)
	defer cancel()
	c, err := db.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("reach the records of processed events: %w", err)
	}
	defer c.Release()
	var questions, records []*ask
	for _, a := range batch {
		if a.record.IsZero() {
			questions = append(questions, a)
		} else {
			records = append(records, a)
		}
	}
	var b pgx.Batch
	if len(questions) > 0 {
		scopes, events := columns(questions)
		b.Queue(look, scopes, events).Query(func(rows pgx.Rows) error {
			var place int
			_, err := pgx.ForEachRow(rows, []any{&place}, func() error {
				questions[place-1].found = true
				return nil
			})
			return err
		})
	}
	if len(records) > 0 {
		// In one order everywhere, so that two processes with the same events do
		// not wait for each other.
		slices.SortFunc(records, func(a, b *ask) int {
			return cmp.Or(cmp.Compare(a.scope, b.scope), cmp.Compare(a.event, b.event))
		})
		scopes, events := columns(records)
		b.Queue(note, scopes, events)
	}
	if err := c.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("ask the records of processed events: %w", err)
	}
	return nil
}

func columns(asks []*ask) (scopes []int32, events []string) {
	for _, a := range asks {
		scopes, events = append(scopes, a.scope), append(events, a.event)
	}
	return scopes, events
}
