package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/config"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/httpserver"
	shared "github.com/pizzamill/pizzamill/platform/idempotency/postgres"
	"github.com/pizzamill/pizzamill/platform/module"
	"github.com/pizzamill/pizzamill/platform/store"
	"github.com/pizzamill/pizzamill/platform/telemetry"
)

// process is a running pizzamill.
type process struct {
	config   config.Config
	pipeline event.Pipeline
	log      *slog.Logger
	blockTo  io.Writer       // gets the banner; may be nil
	all      []module.Module // that exist
	selected []module.Module // that run here

	bus       bus.Bus
	ledger    *store.Ledger
	router    *message.Router
	metrics   *telemetry.Metrics
	main      *httpserver.Server // nil if no module needs it
	admin     *httpserver.Server
	servers   []*httpserver.Server // both, until they are closed
	sources   tasks
	consumers tasks
	begins    []consumer // become the consumers

	id        string // in the ledger
	alone     bool   // the ledger's lock is ours
	databases []database
	records   *shared.DB             // nil if records are kept in memory
	identity  atomic.Pointer[string] // of the bus, once it is known

	stored   atomic.Bool                   // the ledger can be written to
	waiting  atomic.Pointer[error]         // what the start waits for; nil once it has everything
	lost     atomic.Pointer[error]         // why the process is not on the ledger's bus since; nil if it is
	outage   atomic.Pointer[module.Outage] // nil while the bus carries messages
	stopping atomic.Bool
	closers  []closer
	failed   chan error // gets the first failure of something that should go on
}

// closer is one thing that stop undoes.
type closer struct {
	name string
	fn   func(ctx context.Context) error
	// until is the share of the shutdown timeout that may be over when this one
	// is done with. If it is 0, that is all of it, and to fail is an error. Else
	// what is left then is cut off: nothing is lost by it, since the ledger
	// knows what is not finished and the next start goes on with it.
	until float64
}

// onStop makes stop call fn, before everything that was registered earlier.
func (p *process) onStop(name string, fn func(ctx context.Context) error) {
	p.closers = append(p.closers, closer{name: name, fn: fn})
}

// onStopWithin is onStop for what may be cut off.
func (p *process) onStopWithin(until float64, name string, fn func(ctx context.Context) error) {
	p.closers = append(p.closers, closer{name: name, fn: fn, until: until})
}

// stop undoes the start in reverse, all within the shutdown timeout. One that
// fails does not keep the others from being stopped.
func (p *process) stop() error {
	p.stopping.Store(true)
	begin, timeout := time.Now(), p.config.App.ShutdownTimeout
	var errs []error
	for _, c := range slices.Backward(p.closers) {
		share := 1.0
		if c.until > 0 {
			share = c.until
		}
		ctx, cancel := context.WithDeadline(context.Background(), begin.Add(time.Duration(share*float64(timeout))))
		err := c.fn(ctx)
		cancel()
		switch {
		case err == nil:
		case c.until > 0:
			p.log.Warn("cut off while stopping", "what", c.name, "after", time.Since(begin).String(), "error", err)
		default:
			errs = append(errs, fmt.Errorf("stop %s: %w", c.name, err))
		}
	}
	return errors.Join(errs...)
}

// fail ends the process with an error, unless it is stopping anyway.
func (p *process) fail(err error) {
	if err == nil || p.stopping.Load() {
		return
	}
	select {
	case p.failed <- err:
	default:
	}
}

// tasks are functions that run until they are told to stop.
type tasks struct {
	pending []task
	cancel  context.CancelFunc
	running sync.WaitGroup
}

type task struct {
	name string
	fn   func(ctx context.Context) error
}

func (t *tasks) add(name string, fn func(ctx context.Context) error) {
	t.pending = append(t.pending, task{name, fn})
}

// start runs what was added. An error that one of them returns goes to fail.
func (t *tasks) start(fail func(error)) {
	ctx, cancel := context.WithCancel(context.Background())
	t.cancel = cancel
	for _, task := range t.pending {
		t.running.Go(func() {
			if err := task.fn(ctx); err != nil {
				fail(fmt.Errorf("%s: %w", task.name, err))
			}
		})
	}
}

// stop ends them and waits until they have returned or ctx ends.
func (t *tasks) stop(ctx context.Context) error {
	t.cancel()
	return within(ctx, func() error { t.running.Wait(); return nil })
}

// within returns what fn returns, or ctx's error if that ends first.
func within(ctx context.Context, fn func() error) error {
	done := make(chan error, 1)
	go func() { done <- fn() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// needs reports whether a module that runs here has a need.
func (p *process) needs(need func(module.Module) bool) bool {
	return slices.ContainsFunc(p.selected, need)
}

func (p *process) mainAddr() string {
	if p.main == nil {
		return ""
	}
	return p.main.Addr()
}

// taking returns nil while orders are taken: that takes the ledger and no bus.
func (p *process) taking() error {
	switch {
	case p.stopping.Load():
		return errors.New("this process is stopping")
	case !p.stored.Load():
		return errStarting
	default:
		return nil
	}
}

// ready returns nil while the process has everything that it was waiting for.
func (p *process) ready() error {
	if p.stopping.Load() {
		return errors.New("this process is stopping")
	}
	if waiting := p.waiting.Load(); waiting != nil {
		return *waiting
	}
	if lost := p.lost.Load(); lost != nil {
		return *lost
	}
	return nil
}

// consumer reads the bus without the Router, once begin has subscribed.
type consumer struct {
	name  string
	begin func() (run func(ctx context.Context) error, err error)
}

func (p *process) addConsumer(name string, begin func() (func(context.Context) error, error)) {
	p.begins = append(p.begins, consumer{name, begin})
}

// startConsumers subscribes all consumers and runs them.
func (p *process) startConsumers() error {
	for _, c := range p.begins {
		run, err := c.begin()
		if err != nil {
			return fmt.Errorf("start %s: %w", c.name, err)
		}
		p.consumers.add(c.name, run)
	}
	p.consumers.start(p.fail)
	p.onStopWithin(0.9, "consumers", p.consumers.stop)
	return nil
}
