package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pizzamill/pizzamill/platform/app"
	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/config"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

// askTimeout bounds one question to a broker or a database.
const askTimeout = 5 * time.Second

// ledger is what is read of the ledger from outside.
type ledger interface {
	Bus(ctx context.Context) (identity string, err error)
	Buses(ctx context.Context) ([]store.Bus, error)
	Processes(ctx context.Context) ([]store.ProcessState, error)
	Recount(ctx context.Context) (differences []string, err error)
}

// line is a configured line, looked at from outside.
type line struct {
	config.Loaded
	pipeline event.Pipeline
}

// loadLine reads the configuration of a line. cmd may have --bus, see busFlag.
func (p *program) loadLine(cmd *cobra.Command) (line, error) {
	given := map[string]string{}
	if f := cmd.Flags().Lookup("bus"); f != nil && f.Changed {
		given[f.Name] = f.Value.String()
	}
	loaded, err := p.load(given)
	if err != nil {
		return line{}, err
	}
	pipeline, err := event.NewPipeline(loaded.Pipeline.Stages...)
	if err != nil {
		return line{}, fmt.Errorf("pipeline: %w", err)
	}
	return line{loaded, pipeline}, nil
}

// busFlag gives a command the --bus of serve, since a line that was started with
// it is asked about with it.
func busFlag(c *cobra.Command) {
	for _, f := range config.Flags() {
		if f.Name == "bus" {
			c.Flags().String(f.Name, f.Default, strings.TrimSuffix(f.Why, "."))
		}
	}
}

// open returns the bus of a configuration, which knows who reads what in a
// pipeline and is connected to nothing. What it would log comes back as errors.
func (p *program) open(c config.Config, pipeline event.Pipeline) (bus.Bus, error) {
	b, err := p.openBus(c, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, fmt.Errorf("open the bus: %w", err)
	}
	b.Declare(app.Subscriptions(pipeline, p.modules))
	return b, nil
}

// readLedger opens the ledger of a line for reading.
func (p *program) readLedger(ctx context.Context, l line) (ledger, func(), error) {
	return p.openLedger(ctx, l.Config, l.pipeline, slog.New(slog.DiscardHandler))
}

// ledgerAway reports whether the ledger's database gave no answer.
func ledgerAway(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
}

// ask asks one question in bounded time.
func ask[T any](ctx context.Context, question func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return question(ctx)
}

// away marks an error as that of something that cannot be reached.
func away(what string, err error) error {
	var conflict *bus.ConflictError
	if errors.As(err, &conflict) {
		return err
	}
	return &exitError{code: exitUnreachable, err: fmt.Errorf("cannot reach %s: %w", what, patient(err))}
}

// patient says of an answer that did not come how long it was waited for.
func patient(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s (%w)", askTimeout, err)
	}
	return err
}

// broker names the bus for people, without what is secret of its address.
func (l line) broker() string {
	switch l.Bus.Driver {
	case "kafka":
		return "Kafka at " + strings.Join(l.Kafka.Brokers, ", ")
	case "amqp":
		return "RabbitMQ ([amqp] url)"
	default:
		return "gochannel"
	}
}
