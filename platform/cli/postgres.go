package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pizzamill/pizzamill/platform/pg"
)

// recordsTable is where stages keep the events that they have processed.
const recordsTable = "processed_events"

// database is what doctor asks of a PostgreSQL server itself.
type database struct {
	now     time.Time
	records bool // the table of processed events is there
}

// askPostgres asks the server of a connection string, which key names in
// errors. It changes nothing.
func askPostgres(ctx context.Context, key, dsn string) (database, error) {
	c, err := pg.Parse(key, dsn)
	if err != nil {
		return database{}, err
	}
	conn, err := pgx.ConnectConfig(ctx, c.ConnConfig)
	if err != nil {
		return database{}, fmt.Errorf("connect: %w", err)
	}
	var d database
	err = conn.QueryRow(ctx, "SELECT clock_timestamp(), to_regclass($1) IS NOT NULL", recordsTable).Scan(&d.now, &d.records)
	if closeErr := conn.Close(ctx); err == nil {
		err = closeErr
	}
	if err != nil {
		return database{}, fmt.Errorf("ask: %w", err)
	}
	return d, nil
}
