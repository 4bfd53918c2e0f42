package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/idempotency"
	"github.com/pizzamill/pizzamill/platform/module"
	"github.com/pizzamill/pizzamill/platform/stage"
	"github.com/pizzamill/pizzamill/platform/telemetry"
)

// start brings the process up. The order matters three times: listeners and the
// ledger's lock come before anything is dispatched, so that a second process
// is refused before it bakes everything again; orders are taken as soon as the
// ledger is there, whether or not a broker is; and everybody is subscribed
// before the relay puts the first event on the bus.
//
// The listeners answer from early on, and say what the process waits for.
//
// Stopping goes the other way: the listeners close and no more orders are
// taken, the relay stops, what an in-memory bus still holds is worked off, the
// Router lets handlers in flight finish, the journal writes what it has, and
// only then bus and store close under them.
func (p *process) start(ctx context.Context) error {
	l, err := p.listen(ctx)
	if err != nil {
		return err
	}
	env, err := p.open(ctx, l)
	if err != nil {
		return err
	}
	p.bus.Declare(Subscriptions(p.pipeline, p.all))
	for _, m := range p.selected {
		if err := m.Start(env); err != nil {
			return fmt.Errorf("start %s: %w", m.Name, err)
		}
	}
	p.mount(l)
	p.serve() // not ready yet, and says so
	if p.config.OnBroker() && p.hasPages() {
		p.startWatch()
	}
	if p.blockTo != nil {
		p.banner(p.blockTo)
	}
	if err := p.prepare(ctx); err != nil {
		return err
	}
	p.stored.Store(true)
	// A pipeline that does not belong on this bus is refused before it leaves
	// topics and queues there.
	if err := p.adopt(ctx); err != nil {
		return err
	}
	if err := p.await(ctx, theBroker, p.bus.Connect); err != nil {
		return err
	}
	if err := p.startConsumers(); err != nil {
		return err
	}
	if err := p.runRouter(ctx); err != nil {
		return err
	}
	p.onStopWithin(0.6, "what is on the bus", p.bus.Drain)
	p.sources.start(p.fail)
	p.onStop("sources", p.sources.stop)
	p.onStopWithin(0.25, "requests in hand", p.closeServers)
	p.waiting.Store(nil)
	return nil
}

// open makes store and bus and returns what modules stand on. It waits for nobody.
func (p *process) open(ctx context.Context, l *listeners) (*module.Env, error) {
	p.metrics = telemetry.NewMetrics(l.registry)
	l.registry.MustRegister(telemetry.PipelineInfo(p.pipeline))
	if p.needs(func(m module.Module) bool { return m.Ledger }) {
		if err := p.openLedger(ctx); err != nil {
			return nil, err
		}
		l.registry.MustRegister(telemetry.LedgerCollector(p.ledger, p.log))
	}
	records := p.memoryRecords
	if p.config.Idempotency.Driver == "postgres" && p.needs(func(m module.Module) bool { return m.Stage }) {
		if err := p.openRecords(); err != nil {
			return nil, err
		}
		records = p.sharedRecords
	}
	var err error
	if p.bus, err = OpenBus(p.config, p.log); err != nil {
		return nil, err
	}
	p.onStopWithin(0.95, "bus", func(ctx context.Context) error { return within(ctx, p.bus.Close) })
	l.registry.MustRegister(telemetry.LagCollector(p.bus, p.log))
	logger := telemetry.WatermillLogger(p.log.With("module", "watermill"))
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: p.config.App.ShutdownTimeout}, logger)
	if err != nil {
		return nil, fmt.Errorf("router: %w", err)
	}
	p.router = router
	return &module.Env{
		Config: p.config, Pipeline: p.pipeline, Log: p.log, Metrics: p.metrics,
		Bus: p.bus, Router: p.router, Ledger: p.ledger,
		Main: l.mainMux, Admin: l.adminMux, Records: records, Outage: p.outage.Load,
		Source: p.sources.add, Consumer: p.addConsumer,
	}, nil
}

func (p *process) memoryRecords(string) idempotency.Records {
	return idempotency.NewMemory(idempotency.MemorySize)
}

// prepare waits for the databases, until they have the tables.
func (p *process) prepare(ctx context.Context) error {
	for _, d := range p.databases {
		err := p.await(ctx, d.name, func(ctx context.Context) error {
			err := d.prepare(ctx)
			if err != nil && !mayCome(err) {
				return &finalError{err}
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// await calls reach until it succeeds, and says meanwhile what the process waits
// for. It gives up when ctx ends, and at an error that waiting does not mend.
func (p *process) await(ctx context.Context, what string, reach func(context.Context) error) error {
	var reported time.Time
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := reach(ctx)
		switch {
		case err == nil:
			p.waiting.Store(&errStarting) // and for this no more
			return nil
		case isFinal(err):
			return fmt.Errorf("%s: %w", what, err)
		}
		err = &waitError{what, err}
		p.waiting.Store(&err)
		if time.Since(reported) > reportEvery {
			p.log.Warn("waiting", "for", what, "error", errors.Unwrap(err))
			reported = time.Now()
		}
		if !stage.Pause(ctx, wait) {
			return err
		}
	}
}

// reportEvery is how often a process says again what it waits for.
const reportEvery = 10 * time.Second

// errStarting is what a process says that waits for nobody and is not ready yet.
var errStarting = errors.New("this process is starting")

// waitError says what the start waits for.
type waitError struct {
	what string
	err  error
}

func (e *waitError) Error() string { return "waiting for " + e.what + ": " + e.err.Error() }
func (e *waitError) Unwrap() error { return e.err }

// finalError is an error that waiting does not mend.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }

// isFinal reports whether an error of the start is one that waiting does not mend.
func isFinal(err error) bool {
	var final *finalError
	var conflict *bus.ConflictError
	var pipeline *bus.PipelineError
	return errors.As(err, &final) || errors.As(err, &conflict) || errors.As(err, &pipeline)
}

// runRouter runs the handlers and returns once all are subscribed.
func (p *process) runRouter(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() {
		err := p.router.Run(context.Background())
		ended <- err
		p.fail(err)
	}()
	// The exit status is that of Close: Run returns nil even after a timeout.
	p.onStopWithin(0.8, "attempts in flight", func(ctx context.Context) error { return within(ctx, p.router.Close) })
	select {
	case <-p.router.Running():
		return nil
	case err := <-ended:
		return fmt.Errorf("run handlers: %w", err)
	case <-ctx.Done():
		return ctx.Err()
	}
}
