// Package app assembles a process: it opens store and bus, starts the selected
// modules and stops them in the order that loses nothing. It is the only
// package that knows the adapters.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"

	"github.com/pizzamill/pizzamill/platform/config"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/module"
)

// Options of a process.
type Options struct {
	Config config.Config
	// Modules are all that exist; Config.App.Modules selects among them.
	Modules []module.Module
	Log     *slog.Logger
	// Banner gets the block with the addresses once the listeners answer, also
	// while the process still waits for a broker; nil is none.
	Banner io.Writer
	// Ready, if set, is called with the addresses that the listeners got
	// ("" for a main listener that no module needs), once everything runs.
	Ready func(mainAddr, adminAddr string)
}

// Run runs the process until ctx ends, then stops taking orders, finishes what
// is in hand and returns nil. It returns an error if something cannot start or
// fails for good, or could not finish within the shutdown timeout.
func Run(ctx context.Context, o Options) (err error) {
	tuneGC()
	pipeline, err := event.NewPipeline(o.Config.Pipeline.Stages...)
	if err != nil {
		return fmt.Errorf("pipeline: %w", err)
	}
	p := &process{
		config:   o.Config,
		pipeline: pipeline,
		log:      o.Log,
		all:      o.Modules,
		blockTo:  o.Banner,
		failed:   make(chan error, 1),
	}
	p.waiting.Store(&errStarting)
	p.selected = slices.DeleteFunc(slices.Clone(o.Modules), func(m module.Module) bool { return !p.runs(m) })

	// What was opened is closed again, last first, however far the start got.
	defer func() { err = errors.Join(err, p.stop()) }()
	if err := p.start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // told to stop before it was up
		}
		return err
	}
	p.log.Info("running", "main", p.mainAddr(), "admin", p.admin.Addr())
	if o.Ready != nil {
		o.Ready(p.mainAddr(), p.admin.Addr())
	}
	select {
	case <-ctx.Done():
		p.log.Info("stopping: finishing what is in hand", "within", o.Config.App.ShutdownTimeout.String())
		return nil
	case err := <-p.failed:
		return err
	}
}

// runs reports whether this process runs a module.
func (p *process) runs(m module.Module) bool {
	if m.Stage && (p.pipeline.Index(m.Name) < 0 || p.external(m.Name)) {
		return false
	}
	return p.config.Selects(m.Name)
}

// gcPercent suits a process whose live heap is a few megabytes and whose
// messages die young: collecting less often costs some memory and saves a tenth
// of all processor time.
const gcPercent = 400

// tuneGC sets gcPercent, unless the environment says otherwise.
func tuneGC() {
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(gcPercent)
	}
}
