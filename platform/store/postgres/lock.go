package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pizzamill/pizzamill/platform/store"
)

// InUseError says that another process holds the ledger in this database.
type InUseError struct {
	Database string
	Name     string    // application_name of the other one; "" if it cannot be told
	Address  string    // where it runs; "" if it is on the server's machine or cannot be told
	Session  int       // the server's process that serves it, 0 if it cannot be told
	Since    time.Time // when it connected, zero if it cannot be told
}

func (e *InUseError) Error() string {
	who := "another process"
	if e.Name != "" {
		who = e.Name
	}
	if e.Address != "" {
		who += " at " + e.Address
	}
	if e.Session > 0 {
		who += fmt.Sprintf(" (server process %d, since %s)", e.Session, e.Since.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("the ledger in database %s is in use by %s; stop it, or choose another %s", e.Database, who, key)
}

const (
	// lockPatience is how long a start waits for the lock: a session ends a
	// moment after its process was killed.
	lockPatience = 2 * time.Second
	lockPause    = 100 * time.Millisecond
)

// The lock is an advisory one of the session. Its second half is the schema, so
// that two ledgers in one database do not shut each other out.
const (
	lockClass = 0x70697a7a // "pizz"
	takeLock  = `SELECT pg_try_advisory_lock($1, hashtext(current_schema()))`
	askHolder = `SELECT a.pid, coalesce(a.application_name, ''), coalesce(host(a.client_addr), ''), coalesce(a.backend_start, now())
		FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
		AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND l.classid = $1::int8::oid AND l.objid = (hashtext(current_schema())::int8 & 4294967295)::oid`
)

// lock takes the ledger's lock for a connection. Its error wraps
// store.ErrUnavailable in any case.
func lock(ctx context.Context, c *pgx.Conn, patience time.Duration) error {
	for end := time.Now().Add(patience); ; {
		var taken bool
		if err := c.QueryRow(ctx, takeLock, lockClass).Scan(&taken); err != nil {
			return fmt.Errorf("lock the ledger: %w", mark(err))
		}
		if taken {
			return nil
		}
		if !time.Now().Before(end) {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, holder(ctx, c))
		}
		select {
		case <-time.After(lockPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// holder tells who has the lock, as far as the server says.
func holder(ctx context.Context, c *pgx.Conn) *InUseError {
	e := &InUseError{Database: c.Config().Database}
	var since time.Time
	err := c.QueryRow(ctx, askHolder, lockClass).Scan(&e.Session, &e.Name, &e.Address, &since)
	if err == nil {
		e.Since = since
	}
	return e
}
