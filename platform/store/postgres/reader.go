package postgres

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/pizzamill/pizzamill/platform/pg"
)

// OpenReader connects for reading only, beside whoever works on the ledger. It
// takes no lock and changes no table: a database with other tables than this
// pizzamill's is an error. The caller closes it.
func OpenReader(ctx context.Context, dsn string) (*DB, error) {
	db, err := Open(dsn, false)
	if err != nil {
		return nil, err
	}
	files, err := fs.Sub(migrations, "migrations")
	if err == nil {
		err = pg.Check(ctx, db.config, key, versions, files)
	}
	if err != nil {
		_ = db.Close() // nothing was written
		return nil, fmt.Errorf("read database: %w", mark(err))
	}
	db.prepared.Store(true)
	return db, nil
}

// Place returns where a connection string leads, host, port and database,
// without user and password; "" if it is malformed.
func Place(dsn string) string {
	c, err := pg.Parse(key, dsn)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s:%d/%s", c.ConnConfig.Host, c.ConnConfig.Port, c.ConnConfig.Database)
}
