package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/bus/gochannel"
	"github.com/pizzamill/pizzamill/platform/module"
	"github.com/pizzamill/pizzamill/platform/stage"
	"github.com/pizzamill/pizzamill/platform/store"
	"github.com/pizzamill/pizzamill/platform/store/sqlite"
	"github.com/pizzamill/pizzamill/platform/telemetry"
)

// start brings the process up. The order matters twice: listeners and the
// ledger's lock come before anything is dispatched, so that a second process
// is refused before it bakes everything again; and everybody is subscribed
// before the relay puts the first event on the bus.
//
// The listeners answer from early on, and say that the process is starting.
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
	if err := p.bus.Declare(ctx, p.subscriptions()); err != nil {
		return fmt.Errorf("declare topics and groups: %w", err)
	}
	for _, m := range p.selected {
		if err := m.Start(env); err != nil {
			return fmt.Errorf("start %s: %w", m.Name, err)
		}
	}
	p.mount(l)
	p.serve() // not ready yet, and says so
	if err := p.adopt(ctx); err != nil {
		return err
	}

	p.consumers.start(p.fail)
	p.onStop("consumers", p.consumers.stop)
	if err := p.runRouter(ctx); err != nil {
		return err
	}
	p.onStopWithin(0.6, "what is on the bus", p.bus.Drain)
	p.sources.start(p.fail)
	p.onStop("sources", p.sources.stop)

	p.onStopWithin(0.25, "requests in hand", p.closeServers)
	p.running.Store(true)
	return nil
}

// open opens store and bus and returns what modules stand on.
func (p *process) open(ctx context.Context, l *listeners) (*module.Env, error) {
	p.metrics = telemetry.NewMetrics(l.registry)
	l.registry.MustRegister(telemetry.PipelineInfo(p.pipeline))
	if p.needs(func(m module.Module) bool { return m.Ledger }) {
		if err := p.openLedger(ctx); err != nil {
			return nil, err
		}
		l.registry.MustRegister(telemetry.LedgerCollector(p.ledger, p.log))
	}
	logger := telemetry.WatermillLogger(p.log.With("module", "watermill"))
	p.bus = gochannel.New(p.config.Bus.Prefix, logger)
	p.onStop("bus", func(context.Context) error { return p.bus.Close() })
	l.registry.MustRegister(telemetry.LagCollector(p.bus, p.log))

	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: p.config.App.ShutdownTimeout}, logger)
	if err != nil {
		return nil, fmt.Errorf("router: %w", err)
	}
	p.router = router
	return &module.Env{
		Config: p.config, Pipeline: p.pipeline, Log: p.log, Metrics: p.metrics,
		Bus: p.bus, Router: p.router, Ledger: p.ledger,
		Main: l.mainMux, Admin: l.adminMux,
		Source: p.sources.add, Consumer: p.consumers.add,
	}, nil
}

// openLedger opens the database and takes its lock.
func (p *process) openLedger(ctx context.Context) error {
	driver, err := sqlite.Open(ctx, p.config.Store.Path)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	p.onStop("store", func(context.Context) error { return driver.Close() })
	p.ledger = store.New(driver, store.Options{
		Pipeline:      p.pipeline,
		Log:           p.log,
		ObserveCommit: p.metrics.StoreCommit.Observe,
		ObservePizza:  p.metrics.Pizza.Observe,
	})
	p.onStop("ledger", func(ctx context.Context) error { return within(ctx, p.ledger.Close) })
	return nil
}

// adopt makes the ledger that of this bus: after the loss of an in-memory one,
// open orders start again.
func (p *process) adopt(ctx context.Context) error {
	if p.ledger == nil {
		return nil
	}
	identity, err := p.bus.Identity(ctx)
	if err != nil {
		return fmt.Errorf("identity of the bus: %w", err)
	}
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := p.ledger.Start(ctx, identity)
		if err == nil {
			return nil
		}
		err = fmt.Errorf("start the ledger: %w", err)
		if !errors.Is(err, store.ErrUnavailable) || !stage.Pause(ctx, wait) {
			return err
		}
		p.log.Warn("waiting", "for", err)
	}
}

// subscriptions lists who reads what, of the whole pipeline and not only of
// this process.
func (p *process) subscriptions() []bus.Subscription {
	var subs []bus.Subscription
	for _, m := range p.all {
		if m.Consumes == nil || m.Stage && p.pipeline.Index(m.Name) < 0 {
			continue
		}
		for _, topic := range m.Consumes(p.pipeline) {
			subs = append(subs, bus.Subscription{Topic: topic, Group: m.Name})
		}
	}
	return subs
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
