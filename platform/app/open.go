package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/bus/amqp"
	"github.com/pizzamill/pizzamill/platform/bus/gochannel"
	"github.com/pizzamill/pizzamill/platform/bus/kafka"
	"github.com/pizzamill/pizzamill/platform/config"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/idempotency"
	shared "github.com/pizzamill/pizzamill/platform/idempotency/postgres"
	"github.com/pizzamill/pizzamill/platform/module"
	"github.com/pizzamill/pizzamill/platform/pg"
	"github.com/pizzamill/pizzamill/platform/store"
	"github.com/pizzamill/pizzamill/platform/store/postgres"
	"github.com/pizzamill/pizzamill/platform/store/sqlite"
	"github.com/pizzamill/pizzamill/platform/telemetry"
)

// pollEvery is how often a process asks the database for what other processes
// have committed, while anybody here watches.
const pollEvery = 250 * time.Millisecond

// OpenBus returns the bus of a configuration. It connects to nothing; the caller
// closes it.
func OpenBus(c config.Config, log *slog.Logger) (bus.Bus, error) {
	logger := telemetry.WatermillLogger(log.With("module", "watermill"))
	log = log.With("bus", c.Bus.Driver)
	switch c.Bus.Driver {
	case "kafka":
		b, err := kafka.New(kafkaConfig(c), log)
		if err != nil {
			return nil, fmt.Errorf("kafka: %w", err)
		}
		return b, nil
	case "amqp":
		b, err := amqp.New(amqpConfig(c), log)
		if err != nil {
			return nil, fmt.Errorf("amqp: %w", err)
		}
		return b, nil
	default:
		return gochannel.New(c.Bus.Prefix, logger), nil
	}
}

// Subscriptions lists who reads what, of the whole pipeline and not only of
// this process: stages that someone else runs read like those of mods.
func Subscriptions(p event.Pipeline, mods []module.Module) []bus.Subscription {
	var subs []bus.Subscription
	for _, name := range p.Stages() {
		if topic, ok := p.Input(name); ok {
			subs = append(subs, bus.Subscription{Topic: topic, Group: name})
		}
	}
	for _, m := range mods {
		if m.Consumes == nil || m.Stage {
			continue
		}
		for _, topic := range m.Consumes(p) {
			subs = append(subs, bus.Subscription{Topic: topic, Group: m.Name})
		}
	}
	return subs
}

// database is one that the process waits for before it takes orders.
type database struct {
	name    string
	prepare func(ctx context.Context) error
}

// openLedger opens the ledger's database, and on SQLite takes its lock.
func (p *process) openLedger(ctx context.Context) error {
	options := store.Options{
		Pipeline:      p.pipeline,
		Log:           p.log,
		ObserveCommit: p.metrics.StoreCommit.Observe,
		ObservePizza:  p.metrics.Pizza.Observe,
	}
	var driver store.Driver
	if p.config.Store.Driver == "postgres" {
		// In memory the messages of one process are all there are.
		p.alone = p.config.Bus.Driver == "gochannel"
		db, err := postgres.Open(p.config.Store.DSN, p.alone)
		if err != nil {
			return fmt.Errorf("store: %w", err)
		}
		p.databases = append(p.databases, database{"the store", db.Prepare})
		if !p.alone {
			options.Poll = pollEvery
		}
		driver = db
	} else {
		p.alone = true
		db, err := sqlite.Open(ctx, p.config.Store.Path)
		if err != nil {
			return fmt.Errorf("store: %w", err)
		}
		driver = db
	}
	p.onStop("store", func(context.Context) error { return driver.Close() })
	p.ledger = store.New(driver, options)
	p.onStop("ledger", func(ctx context.Context) error { return within(ctx, p.ledger.Close) })
	return nil
}

// openRecords opens the table of processed events.
func (p *process) openRecords() error {
	db, err := shared.Open(p.config.Idempotency.DSN, p.config.Idempotency.Retention, p.log.With("module", "idempotency"))
	if err != nil {
		return fmt.Errorf("idempotency: %w", err)
	}
	p.databases = append(p.databases, database{"the table of processed events", db.Prepare})
	p.onStop("table of processed events", func(context.Context) error { return db.Close() })
	p.records = db
	return nil
}

// sharedRecords returns the records of a stage in the table of processed events.
func (p *process) sharedRecords(stage string) idempotency.Records { return p.records.Records(stage) }

// mayCome reports whether a database that cannot be used now may be used later,
// without anybody doing something about this process. One with the tables of a
// newer pizzamill, or one that another process holds, may not.
func mayCome(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || pg.Unavailable(err) || pg.Conflict(err)
}

// kafkaConfig is what the Kafka driver needs of the configuration.
func kafkaConfig(c config.Config) kafka.Config {
	return kafka.Config{
		Brokers: c.Kafka.Brokers, Partitions: c.Kafka.Partitions, ReplicationFactor: c.Kafka.ReplicationFactor,
		TLS: c.Kafka.TLS, CAFile: c.Kafka.CAFile,
		SASLMechanism: c.Kafka.SASLMechanism, SASLUsername: c.Kafka.SASLUsername, SASLPassword: c.Kafka.SASLPassword,
		Prefix: c.Bus.Prefix, Pipeline: strings.Join(c.Pipeline.Stages, ","),
	}
}

// amqpConfig is what the RabbitMQ driver needs of the configuration.
func amqpConfig(c config.Config) amqp.Config {
	return amqp.Config{
		URL: c.AMQP.URL, ManagementURL: c.AMQP.ManagementURL, QueueType: c.AMQP.QueueType,
		Concurrency: c.AMQP.Concurrency, Prefix: c.Bus.Prefix, Pipeline: strings.Join(c.Pipeline.Stages, ","),
	}
}

// external reports whether someone else runs a stage.
func (p *process) external(name string) bool {
	return slices.Contains(p.config.Pipeline.External, name)
}
