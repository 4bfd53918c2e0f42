// Package sqlite holds the ledger in a SQLite database, in one process at a
// time: a lock file beside the database keeps others out.
package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"modernc.org/sqlite"

	"github.com/pizzamill/pizzamill/platform/store"
)

// DB is the database. Its one writer connection and its few readers see each
// other through the write-ahead log and do not wait for each other, but for the
// moment that trimLog takes.
type DB struct {
	path string
	lock *flock.Flock // nil of a reader

	mu      sync.Mutex // held during Update
	writer  *conn      // nil once closed, and of a reader
	commits int        // since the log's size was looked at
	maxLog  int64      // bytes

	connector driver.Connector // of readers
	slots     chan struct{}    // one value for each reader in use
	idleMu    sync.Mutex
	idle      []*conn
	closed    bool
}

var _ store.Driver = (*DB)(nil)

// Open opens the database file at path, which it makes, with its directory, if
// it is not there, and brings its tables up to date. While another process has
// it the error is an *InUseError; a file made by a newer pizzamill gives a
// *NewerError. The caller closes it.
func Open(ctx context.Context, path string) (_ *DB, err error) {
	path, err = prepare(path)
	if err != nil {
		return nil, err
	}
	l, err := lock(path)
	if err != nil {
		return nil, err
	}
	db := newDB(path, l)
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	if err := create(path); err != nil {
		return nil, err
	}
	if err := migrate(ctx, path); err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	connector, err := sqlite.NewConnector(dsn(path, writerPragmas))
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	if db.writer, err = connect(ctx, connector); err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	if db.connector, err = sqlite.NewConnector(readerDSN(path)); err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	return db, nil
}

// OpenReader opens the database file at path for reading alone, beside the
// process that has it: it takes no lock, makes no file and changes no table.
// The error wraps fs.ErrNotExist if there is no file, and is an *OlderError or
// a *NewerError if its tables are not those of this pizzamill. Update fails. The
// caller closes it.
func OpenReader(ctx context.Context, path string) (_ *DB, err error) {
	if path == "" {
		return nil, errNoPath
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	switch info, err := os.Stat(path); {
	case err != nil:
		return nil, fmt.Errorf("open database: %w", err)
	case info.IsDir():
		return nil, fmt.Errorf("open database: %s is a directory", path)
	}
	if err := checkVersion(ctx, path); err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	db := newDB(path, nil)
	if db.connector, err = sqlite.NewConnector(readerDSN(path)); err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	return db, nil
}

func newDB(path string, lock *flock.Flock) *DB {
	return &DB{path: path, lock: lock, maxLog: 64 << 20, slots: make(chan struct{}, max(4, runtime.GOMAXPROCS(0)))}
}

var errNoPath = errors.New("open database: [store] path is empty")

// prepare makes the directory and returns the path that all names of the
// database come down to, so that they share one lock file.
func prepare(path string) (string, error) {
	if path == "" {
		return "", errNoPath
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("open database %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(abs), 0o700); err != nil {
		return "", fmt.Errorf("make the database's directory: %w", err)
	}
	if target, err := filepath.EvalSymlinks(abs); err == nil {
		return target, nil
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", fmt.Errorf("open database %s: %w", path, err)
	}
	return filepath.Join(dir, filepath.Base(abs)), nil
}

// create makes the file for its owner alone; SQLite gives its companions the
// same mode.
func create(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	return f.Close()
}

// Only backups and shells contend for the locks of the file. What waits longer
// for one is told that the store is unavailable, and tries again.
const busyTimeout = time.Second

var setBusyTimeout = fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds())

var writerPragmas = []string{
	setBusyTimeout,
	"journal_mode(WAL)",
	"synchronous(FULL)", // what was answered 2xx is on the disk
	"foreign_keys(1)",
	"cache_size(-32768)",
	"wal_autocheckpoint(4000)", // 16 MiB: a checkpoint syncs the whole file
}

var readerPragmas = []string{setBusyTimeout, "query_only(1)"}

func dsn(path string, pragmas []string) string {
	u := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{"_pragma": pragmas}.Encode()}
	return u.String()
}

// readerDSN opens what exists. It is not mode=ro, which could not read the
// write-ahead log of a process that was killed.
func readerDSN(path string) string { return dsn(path, readerPragmas) + "&mode=rw" }

var (
	errClosed = fmt.Errorf("%w: it is closed", store.ErrUnavailable)
	errReader = errors.New("the database is open for reading only")
)

// Update runs fn in one transaction and returns once it is synced.
func (db *DB) Update(ctx context.Context, fn func(store.Tx) error) (err error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	switch {
	case db.lock == nil:
		return errReader
	case db.writer == nil:
		return errClosed
	}
	// IMMEDIATE: a transaction that reads first and then finds another writer
	// could not be continued.
	if err := db.writer.exec("BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	committed := false
	defer func() {
		if !committed { // fn may also have panicked
			_ = db.writer.exec("ROLLBACK") // nothing to roll back if SQLite did it itself
		}
	}()
	if err := fn(&tx{reader{db.writer}}); err != nil {
		return err
	}
	if err := db.writer.exec("COMMIT"); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	committed = true
	db.trimLog()
	return nil
}

// trimLog starts the write-ahead log anew when it has grown large. SQLite does
// so by itself, but only when it meets no reader, and streams may read all the
// time: so readers are kept out for the moment it takes. The log is whole
// either way; if it cannot be done now, a later commit tries again.
func (db *DB) trimLog() {
	const every, patience = 256, 500 * time.Millisecond // commits; how long to wait for readers to end
	if db.commits++; db.commits < every {
		return
	}
	db.commits = 0
	log, err := os.Stat(db.path + "-wal")
	if err != nil || log.Size() < db.maxLog {
		return
	}
	enough := time.NewTimer(patience)
	defer enough.Stop()
	for range cap(db.slots) {
		select {
		case db.slots <- struct{}{}:
			defer func() { <-db.slots }()
		case <-enough.C:
			return
		}
	}
	// Our own readers are out. A backup or a shell that reads must not be waited for.
	_ = db.writer.exec("PRAGMA busy_timeout = 0")
	_ = db.writer.exec("PRAGMA wal_checkpoint(TRUNCATE)") // what it says is in the size of the log next time
	_ = db.writer.exec(fmt.Sprintf("PRAGMA busy_timeout = %d", busyTimeout.Milliseconds()))
}

// View runs fn on a snapshot. It waits while too many others read, until ctx ends.
func (db *DB) View(ctx context.Context, fn func(store.ReadTx) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case db.slots <- struct{}{}:
		defer func() { <-db.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	c, err := db.reader(ctx)
	if err != nil {
		return fmt.Errorf("connect to database: %w", err)
	}
	if err := c.exec("BEGIN"); err != nil {
		return errors.Join(fmt.Errorf("begin: %w", err), c.close())
	}
	defer func() {
		if endErr := c.exec("ROLLBACK"); endErr != nil {
			err = errors.Join(err, endErr, c.close())
			return
		}
		db.idleMu.Lock()
		defer db.idleMu.Unlock()
		db.idle = append(db.idle, c)
	}()
	return fn(&reader{c})
}

func (db *DB) reader(ctx context.Context) (*conn, error) {
	db.idleMu.Lock()
	defer db.idleMu.Unlock()
	if db.closed {
		return nil, errClosed
	}
	if n := len(db.idle); n > 0 {
		c := db.idle[n-1]
		db.idle = db.idle[:n-1]
		return c, nil
	}
	return connect(ctx, db.connector)
}

// Close closes the connections and gives the lock back. It may be called again.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.idleMu.Lock()
	defer db.idleMu.Unlock()
	var errs []error
	for _, c := range db.idle {
		errs = append(errs, c.close())
	}
	db.idle, db.closed = nil, true
	if db.writer != nil { // last, so that it can fold the log into the database
		errs = append(errs, db.writer.close())
		db.writer = nil
	}
	if db.lock != nil {
		errs = append(errs, db.lock.Close())
	}
	return errors.Join(errs...)
}
