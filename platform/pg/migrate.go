package pg

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// NewerError says that a newer pizzamill wrote the tables.
type NewerError struct {
	Key        string // of the configuration
	Have, Know int64
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("the database has schema %d and this pizzamill knows only up to %d; use the newer pizzamill, or another %s",
		e.Have, e.Know, e.Key)
}

// lockTimeout is how long a process waits for another one that migrates.
const lockTimeout = time.Minute

// Migrate brings the tables up to date that files describe, from 1 on without a
// gap; versions names the table that keeps how far that is. Any number of
// processes may do so at once. Tables made by a newer pizzamill give a
// *NewerError. key names the connection string in errors.
func Migrate(ctx context.Context, c *pgx.ConnConfig, key, versions string, files fs.FS) (err error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	c = c.Copy()
	c.RuntimeParams["statement_timeout"] = "0" // changing a large table takes its time
	c.RuntimeParams["lock_timeout"] = strconv.FormatInt(lockTimeout.Milliseconds(), 10)
	db := stdlib.OpenDB(*c)
	defer func() { err = errors.Join(err, db.Close()) }()
	know := int64(len(names))
	if done, err := current(ctx, db, key, versions, know); err != nil || done {
		return err
	}
	unlock, err := lock(ctx, db)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if done, err := current(ctx, db, key, versions, know); err != nil || done {
		return err
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithDisableGlobalRegistry(true), goose.WithTableName(versions))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	_, err = p.Up(ctx)
	var e *pgconn.PgError
	if errors.As(err, &e) && e.Code == "42P07" {
		return fmt.Errorf("migrate: the database has a table of another program that has the name of one of ours; choose another %s", key)
	}
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// current reports whether the tables are up to date.
func current(ctx context.Context, db *sql.DB, key, versions string, know int64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	var exists bool
	if err := db.QueryRowContext(ctx, `SELECT to_regclass($1) IS NOT NULL`, versions).Scan(&exists); err != nil {
		return false, fmt.Errorf("look for tables: %w", err)
	}
	if !exists {
		return false, nil
	}
	var have int64
	// Its name is a constant of ours.
	err := db.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM `+versions+` WHERE is_applied`).Scan(&have)
	switch {
	case err != nil:
		return false, fmt.Errorf("read schema version: %w", err)
	case have > know:
		return false, &NewerError{Key: key, Have: have, Know: know}
	}
	return have == know, nil
}

// lock keeps other processes from migrating until unlock. goose's own locker
// would lock later than goose makes its table, which two must not do at once.
func lock(ctx context.Context, db *sql.DB) (unlock func() error, err error) {
	const lockID = 0x70697a7a616d // "pizzam"
	wait, cancel := context.WithTimeout(ctx, lockTimeout+Patience)
	defer cancel()
	conn, err := db.Conn(wait)
	if err != nil {
		return nil, fmt.Errorf("lock for migration: %w", err)
	}
	if _, err := conn.ExecContext(wait, `SELECT pg_advisory_lock($1)`, int64(lockID)); err != nil {
		return nil, errors.Join(fmt.Errorf("lock for migration: %w", err), conn.Close())
	}
	return func() error {
		ctx, cancel := Within(ctx)
		defer cancel()
		_, err := conn.ExecContext(ctx, `SELECT pg_advisory_unlock($1)`, int64(lockID))
		return errors.Join(err, conn.Close())
	}, nil
}
