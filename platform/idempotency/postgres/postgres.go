// Package postgres keeps the events that stages have processed in one narrow
// table, for buses that outlive their processes. It may share a database with
// the ledger, or be alone in its own: a stage opens no ledger.
package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pizzamill/pizzamill/platform/pg"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	// key is where the connection string stands in the configuration.
	key = "[idempotency] dsn"
	// versions is the table that keeps which migrations have run.
	versions = "pizzamill_idempotency_version"

	// connections: one looks up and records, one forgets, one is spare.
	connections = 3
)

// DB is the table of processed events. Its methods are safe for concurrent use.
type DB struct {
	pool      *pgxpool.Pool
	retention time.Duration
	log       *slog.Logger

	preparing sync.Mutex
	prepared  atomic.Bool

	mu     sync.Mutex
	queue  []*ask
	closed bool
	wake   chan struct{} // of one: there is something in the queue

	scopes sync.Map // scope → its number

	lost struct { // records that could not be written
		sync.Mutex
		count int
		told  time.Time
	}

	running context.Context // ends with Close
	cancel  context.CancelFunc
	workers sync.WaitGroup
}

var (
	errUnready = errors.New("records of processed events: the database was not reached yet")
	errClosed  = errors.New("records of processed events are closed")
)

// Open checks a connection string, as that of the ledger, and connects to
// nothing. Records older than retention are deleted, a few at a time. The caller
// closes it. Errors never show the connection string.
func Open(dsn string, retention time.Duration, log *slog.Logger) (*DB, error) {
	c, err := pg.Parse(key, dsn)
	if err != nil {
		return nil, fmt.Errorf("open records of processed events: %w", err)
	}
	// A record that a crash of the server loses costs a duplicate.
	c.ConnConfig.RuntimeParams["synchronous_commit"] = "off"
	c.ConnConfig.RuntimeParams["statement_timeout"] = "4000" // less than roundTrip
	c.MaxConns = connections
	pool, err := pgxpool.NewWithConfig(context.Background(), c)
	if err != nil {
		return nil, fmt.Errorf("open records of processed events: %w", err)
	}
	db := &DB{pool: pool, retention: retention, log: log, wake: make(chan struct{}, 1)}
	db.running, db.cancel = context.WithCancel(context.Background())
	return db, nil
}

// Prepare connects and brings the table up to date, whatever number of processes
// do so at once. Until it has succeeded, Begin fails. It is worth another try
// after any error but a *pg.NewerError.
func (db *DB) Prepare(ctx context.Context) error {
	db.preparing.Lock()
	defer db.preparing.Unlock()
	if db.prepared.Load() {
		return nil
	}
	if db.running.Err() != nil {
		return errClosed
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if err := pg.Migrate(ctx, db.pool.Config().ConnConfig, key, versions, files); err != nil {
		return fmt.Errorf("prepare records of processed events: %w", err)
	}
	db.workers.Go(db.work)
	db.workers.Go(db.forgetRegularly)
	db.prepared.Store(true)
	return nil
}

// Check returns nil if the records can be reached now.
func (db *DB) Check(ctx context.Context) error {
	if !db.prepared.Load() {
		return errUnready
	}
	if err := db.pool.Ping(ctx); err != nil {
		return fmt.Errorf("reach the records of processed events: %w", err)
	}
	return nil
}

// Close ends what runs in the background, once what waits for it is answered or
// given up, and closes the connections. It may be called again.
func (db *DB) Close() error {
	db.preparing.Lock() // so that Prepare starts nothing behind it
	db.cancel()
	db.preparing.Unlock()
	db.workers.Wait()
	db.mu.Lock()
	db.closed = true
	left := db.queue
	db.queue = nil
	db.mu.Unlock()
	for _, a := range left {
		a.finish(errClosed)
	}
	db.pool.Close()
	return nil
}

const (
	// forgetEvery is how often old records are looked for, and bite how many
	// are deleted in one transaction.
	forgetEvery = time.Minute
	bite        = 5000
)

func (db *DB) forgetRegularly() {
	tick := time.NewTicker(forgetEvery)
	defer tick.Stop()
	for {
		if err := db.forget(db.running, bite); err != nil && db.running.Err() == nil {
			db.log.Warn("old records of processed events could not be deleted", "err", err)
		}
		select {
		case <-tick.C:
		case <-db.running.Done():
			return
		}
	}
}

// forget deletes what is older than the retention. What another process deletes
// at the moment is left to it.
func (db *DB) forget(ctx context.Context, bite int) error {
	for ctx.Err() == nil {
		within, cancel := pg.Within(ctx)
		tag, err := db.pool.Exec(within, `DELETE FROM processed_events WHERE (scope, event) IN
			(SELECT scope, event FROM processed_events WHERE at < now() - $1::interval ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
			db.retention, bite)
		cancel()
		if err != nil {
			return fmt.Errorf("delete old records of processed events: %w", err)
		}
		if tag.RowsAffected() < int64(bite) {
			return nil
		}
	}
	return nil
}
