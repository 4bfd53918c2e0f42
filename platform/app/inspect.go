package app

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pizzamill/pizzamill/platform/bus/amqp"
	"github.com/pizzamill/pizzamill/platform/config"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
	"github.com/pizzamill/pizzamill/platform/store/postgres"
	"github.com/pizzamill/pizzamill/platform/store/sqlite"
)

// OpenLedgerReader opens the ledger for reading, beside the process that holds
// it. It changes nothing, and needs a database that has the tables. close must
// be called.
func OpenLedgerReader(ctx context.Context, c config.Config, pipeline event.Pipeline, log *slog.Logger) (_ *store.Ledger, closeAll func(), err error) {
	var driver store.Driver
	if c.Store.Driver == "postgres" {
		driver, err = postgres.OpenReader(ctx, c.Store.DSN)
	} else {
		driver, err = sqlite.OpenReader(ctx, c.Store.Path)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("store: %w", err)
	}
	l := store.New(driver, store.Options{Pipeline: pipeline, Log: log})
	return l, func() {
		_ = l.Close() // nothing was written
		_ = driver.Close()
	}, nil
}

// QueueArguments returns what every queue of a configuration is declared with on
// RabbitMQ.
func QueueArguments(c config.Config) map[string]any { return amqp.Arguments(c.AMQP.QueueType) }
