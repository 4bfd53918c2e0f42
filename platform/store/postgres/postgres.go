// Package postgres holds the ledger in a PostgreSQL database, which any number
// of processes may work on at once.
//
// What they may not do at once, the rows' locks forbid. A transaction locks the
// orders that it is about, in the order of their IDs, and only then reads what
// belongs to them; isolation is READ COMMITTED, so what it reads is what the
// holder before it left. What has no order to be locked is inserted plainly, and
// the second one who does so gets store.ErrConflict. The rows that every
// transaction moves, totals and meta, are written last, in the same message as
// the COMMIT, so that no process that stands still ever has them locked.
package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pizzamill/pizzamill/platform/pg"
	"github.com/pizzamill/pizzamill/platform/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	// key is where the connection string stands in the configuration.
	key = "[store] dsn"
	// versions is the table that keeps which migrations have run.
	versions = "pizzamill_ledger_version"
)

// DB is the database: one connection that writes, and a pool of those that read.
// Both are made anew when they break.
type DB struct {
	config    *pgx.ConnConfig // of the writer
	exclusive bool
	prepared  atomic.Bool

	mu     sync.Mutex // held during Update
	writer *pgx.Conn  // nil until it is needed
	closed bool

	readers *pgxpool.Pool
}

var _ store.Driver = (*DB)(nil)

// Open checks a connection string, a URL or key=value pairs with the options of
// libpq and pool_max_conns (of those that read: 4, or more on as many
// processors), and connects to nothing. With exclusive, one process
// holds the ledger at a time: see Prepare. The caller closes it.
//
// Errors never show the connection string.
func Open(dsn string, exclusive bool) (*DB, error) {
	c, err := pg.Parse(key, dsn)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	db := &DB{config: c.ConnConfig.Copy(), exclusive: exclusive}
	db.config.RuntimeParams["synchronous_commit"] = "on" // what was answered 2xx is on the disk
	if db.readers, err = pgxpool.NewWithConfig(context.Background(), c); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return db, nil
}

// Prepare connects and brings the tables up to date, whatever number of
// processes do so at once. Until it has succeeded, Update and View fail with
// store.ErrUnavailable. An error that wraps store.ErrUnavailable is worth
// another try; others, such as a *pg.NewerError, are final.
//
// If the database was opened as exclusive, Prepare takes the ledger's lock, or
// fails with an *InUseError that tells who has it. The lock belongs to the
// connection that writes: whatever is written is written by who holds it. When
// that connection breaks, the next one takes the lock again before it writes.
// Should another process have got it meanwhile, Update fails with an error that
// wraps both the *InUseError and store.ErrUnavailable until that one is gone, and
// from then on the ledger is on the other one's bus, so that nothing is leased
// here until store.Ledger.Start.
func (db *DB) Prepare(ctx context.Context) error {
	if db.prepared.Load() {
		return nil
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if err := pg.Migrate(ctx, db.config, key, versions, files); err != nil {
		if pg.Conflict(err) { // waited too long for another one that migrates
			return fmt.Errorf("prepare database: %w: %w", store.ErrUnavailable, err)
		}
		return fmt.Errorf("prepare database: %w", mark(err))
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if _, err := db.connection(ctx, lockPatience); err != nil {
		var held *InUseError
		if errors.As(err, &held) {
			return held
		}
		return fmt.Errorf("prepare database: %w", err)
	}
	db.prepared.Store(true)
	return nil
}

var (
	errClosed   = fmt.Errorf("%w: it is closed", store.ErrUnavailable)
	errUnready  = fmt.Errorf("%w: it was not reached yet", store.ErrUnavailable)
	errRollback = fmt.Errorf("%w: the server rolled the transaction back", store.ErrUnavailable)
)

// mark wraps what the ledger tells apart.
func mark(err error) error {
	switch {
	case err == nil, errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrConflict):
		return err
	case pg.Conflict(err):
		return fmt.Errorf("%w: %w", store.ErrConflict, err)
	case pg.Unavailable(err):
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	default:
		return err
	}
}

// Update runs fn in one transaction and returns once it is synced. If the
// connection breaks during the COMMIT, its outcome is not known and the error is
// store.ErrUnavailable.
func (db *DB) Update(ctx context.Context, fn func(store.Tx) error) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if !db.prepared.Load() {
		return errUnready
	}
	s := &session{
		ctx:   ctx,
		begin: "BEGIN ISOLATION LEVEL READ COMMITTED",
		connect: func() (*pgx.Conn, error) {
			return db.connection(ctx, 0)
		},
	}
	defer s.rollback() // fn may also have panicked
	t := &tx{reader: reader{s: s, writes: true}}
	if err := fn(t); err != nil {
		return err
	}
	if err := s.commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// connection returns the one that writes, made anew if it broke. A lock that
// another process has is waited for as long as patience.
func (db *DB) connection(ctx context.Context, patience time.Duration) (*pgx.Conn, error) {
	if db.closed {
		return nil, errClosed
	}
	if db.writer != nil && !db.writer.IsClosed() {
		return db.writer, nil
	}
	db.writer = nil
	ctx, cancel := context.WithTimeout(ctx, patience+pg.Patience)
	defer cancel()
	c, err := pgx.ConnectConfig(ctx, db.config)
	if err != nil {
		return nil, mark(err)
	}
	if db.exclusive {
		if err := lock(ctx, c, patience); err != nil {
			return nil, errors.Join(err, closeConn(c))
		}
	}
	db.writer = c
	return c, nil
}

// View runs fn on a snapshot. It waits while too many others read, until ctx ends.
func (db *DB) View(ctx context.Context, fn func(store.ReadTx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !db.prepared.Load() {
		return errUnready
	}
	var pooled *pgxpool.Conn
	s := &session{
		ctx:   ctx,
		begin: "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
		connect: func() (*pgx.Conn, error) {
			if pooled != nil { // it broke, and those that idle may have as well
				pooled.Release()
				db.readers.Reset()
			}
			wait, cancel := context.WithTimeout(ctx, pg.Patience)
			defer cancel()
			var err error
			if pooled, err = db.readers.Acquire(wait); err != nil {
				pooled = nil
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				return nil, mark(err)
			}
			return pooled.Conn(), nil
		},
	}
	defer func() {
		s.rollback()
		if pooled != nil {
			pooled.Release()
		}
	}()
	return fn(&reader{s: s})
}

// Close closes the connections, and with them gives the lock back. It may be
// called again.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.closed = true
	db.readers.Close()
	if db.writer == nil {
		return nil
	}
	err := closeConn(db.writer)
	db.writer = nil
	return err
}

func closeConn(c *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := c.Close(ctx); err != nil && !pg.Broken(err) {
		return fmt.Errorf("close database: %w", err)
	}
	return nil
}
