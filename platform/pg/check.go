package pg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// Check returns nil if a database has exactly the tables that files make, as
// Migrate would, and changes nothing. See Migrate for the rest.
func Check(ctx context.Context, c *pgx.ConnConfig, key, versions string, files fs.FS) (err error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	db := stdlib.OpenDB(*c)
	defer func() { err = errors.Join(err, db.Close()) }()
	done, err := current(ctx, db, key, versions, int64(len(names)))
	if err == nil && !done {
		err = errors.New("it does not have the tables of this pizzamill; start pizzamill on it once")
	}
	return err
}
