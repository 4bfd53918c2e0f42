package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

//go:embed migrations/*.sql
var migrations embed.FS

// NewerError says that a newer pizzamill wrote the database.
type NewerError struct{ Have, Know int64 }

func (e *NewerError) Error() string {
	return fmt.Sprintf("it has schema %d and this pizzamill knows only up to %d; use the newer pizzamill, or another [store] path",
		e.Have, e.Know)
}

// OlderError says that the database has the tables of an older pizzamill.
type OlderError struct{ Have, Need int64 }

func (e *OlderError) Error() string {
	return fmt.Sprintf("it has schema %d and this pizzamill needs %d; pizzamill serve brings it up to date", e.Have, e.Need)
}

// migrate brings the tables up to date. It is the only part that goes through
// database/sql, for goose.
func migrate(ctx context.Context, path string) (err error) {
	connector, err := sqlite.NewConnector(dsn(path, writerPragmas))
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := checkOurs(ctx, db); err != nil {
		return err
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	have, know, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read schema version: %w", mark(err))
	}
	if have > know {
		return &NewerError{Have: have, Know: know}
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", mark(err))
	}
	return nil
}

// checkVersion refuses a database whose tables are not those of this pizzamill.
func checkVersion(ctx context.Context, path string) (err error) {
	connector, err := sqlite.NewConnector(readerDSN(path))
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer func() { err = errors.Join(err, db.Close()) }()
	empty, err := checkOurs(ctx, db)
	if err != nil {
		return err
	}
	files, err := migrations.ReadDir("migrations")
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	need, err := goose.NumericComponent(files[len(files)-1].Name())
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if empty {
		return &OlderError{Need: need}
	}
	var have int64
	err = db.QueryRowContext(ctx, `SELECT max(version_id) FROM goose_db_version WHERE is_applied`).Scan(&have)
	switch {
	case err != nil:
		return fmt.Errorf("read schema version: %w", mark(err))
	case have > need:
		return &NewerError{Have: have, Know: need}
	case have < need:
		return &OlderError{Have: have, Need: need}
	}
	return nil
}

// checkOurs refuses a file that is no database, or that of something else.
func checkOurs(ctx context.Context, db *sql.DB) (empty bool, err error) {
	var tables, ours int
	err = db.QueryRowContext(ctx, `SELECT count(*), count(*) FILTER (WHERE name = 'goose_db_version')
		FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`).Scan(&tables, &ours)
	var e *sqlite.Error
	switch {
	case errors.As(err, &e) && e.Code() == sqlite3.SQLITE_NOTADB:
		return false, errors.New("the file is not a SQLite database; choose another [store] path")
	case err != nil:
		return false, fmt.Errorf("read tables: %w", mark(err))
	case tables > 0 && ours == 0:
		return false, errors.New("the file is the database of another program; choose another [store] path")
	}
	return tables == 0, nil
}
