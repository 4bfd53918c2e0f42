package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pizzamill/pizzamill/platform/idempotency"
	"github.com/pizzamill/pizzamill/platform/pg"
)

// recordFor is how long a record is worth waiting for. A stage that waits longer
// than that costs more than the duplicate.
const recordFor = 2 * time.Second

// Records returns the records of a stage.
func (db *DB) Records(stage string) idempotency.Records {
	return &records{db: db, stage: stage, own: idempotency.NewMemory(idempotency.MemorySize)}
}

// records are those of one stage. What this process has in hand or has handled
// lately it knows by itself; the table is asked about everything else.
type records struct {
	db    *DB
	stage string
	own   *idempotency.Memory
}

var _ idempotency.Records = (*records)(nil)

// Begin implements idempotency.Records. It fails while the database is away. end(true) returns once the record is committed; if that
// takes longer than 2 s, it logs that the record is lost and returns.
func (r *records) Begin(ctx context.Context, bus, eventID string) (processed bool, end func(ok bool), err error) {
	processed, done, err := r.own.Begin(ctx, bus, eventID)
	if err != nil || processed {
		return processed, nil, err
	}
	scope, err := r.db.scope(ctx, bus, r.stage)
	if err == nil {
		processed, err = r.db.look(ctx, scope, eventID)
	}
	if err != nil {
		done(false)
		return false, nil, err
	}
	if processed {
		done(true)
		return true, nil, nil
	}
	return false, func(ok bool) {
		if ok {
			r.db.note(scope, eventID)
		}
		done(ok)
	}, nil
}

func (db *DB) look(ctx context.Context, scope int32, event string) (found bool, err error) {
	a := &ask{scope: scope, event: event}
	if err := db.enqueue(a); err != nil {
		return false, err
	}
	select {
	case <-a.done:
		return a.found, a.err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

func (db *DB) note(scope int32, event string) {
	a := &ask{scope: scope, event: event, record: time.Now().Add(recordFor)}
	if err := db.enqueue(a); err != nil {
		db.lose(err)
		return
	}
	timer := time.NewTimer(recordFor)
	defer timer.Stop()
	select {
	case <-a.done:
		if a.err != nil {
			db.lose(a.err)
		}
	case <-timer.C:
		db.lose(errors.New("it takes too long"))
	}
}

// tellEvery keeps a database that is away from filling the log.
const tellEvery = 5 * time.Second

// lose tells that a record is lost.
func (db *DB) lose(err error) {
	db.lost.Lock()
	defer db.lost.Unlock()
	db.lost.count++
	if time.Since(db.lost.told) < tellEvery {
		return
	}
	db.log.Warn("records of processed events are lost, so they may be processed twice", "records", db.lost.count, "err", err)
	db.lost.count, db.lost.told = 0, time.Now()
}

type scopeName struct{ bus, stage string }

// scope returns the number that stands for a stage on a bus.
func (db *DB) scope(ctx context.Context, bus, stage string) (int32, error) {
	name := scopeName{bus, stage}
	if id, ok := db.scopes.Load(name); ok {
		return id.(int32), nil
	}
	if !db.prepared.Load() {
		return 0, errUnready
	}
	ctx, cancel := context.WithTimeout(ctx, pg.Patience)
	defer cancel()
	var id int32
	_, err := db.pool.Exec(ctx, `INSERT INTO processed_scopes (bus, stage) VALUES ($1, $2) ON CONFLICT DO NOTHING`, bus, stage)
	if err == nil {
		err = db.pool.QueryRow(ctx, `SELECT id FROM processed_scopes WHERE bus = $1 AND stage = $2`, bus, stage).Scan(&id)
	}
	if err != nil {
		return 0, fmt.Errorf("name the stage in the records of processed events: %w", err)
	}
	db.scopes.Store(name, id)
	return id, nil
}
