// Package cli is the command line: it turns arguments into a configuration and
// a call, and what comes back into output and an exit code.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pizzamill/pizzamill/platform/app"
	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/config"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/module"
)

// Exit codes. An error that knows its own has a method ExitCode() int, in
// whatever package; all others are a failure.
const (
	exitFailure     = 1
	exitUsage       = 2
	exitConfig      = 3
	exitUnreachable = 4
	exitPartial     = 5
	exitInterrupted = 130
)

// Main runs the command that args ask for (without the name of the program)
// and returns the exit code. mods are all modules that exist. The first SIGINT
// or SIGTERM ends the command in good order; the second ends the process at
// once, with 130.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, mods []module.Module) int {
	ctx, stop := untilSignal(ctx)
	defer stop()
	p := &program{
		modules: mods,
		in:      stdin,
		out:     stdout,
		err:     stderr,
		env:     os.Environ(),
		serve:   app.Run,
		openBus: app.OpenBus,
		openLedger: func(ctx context.Context, c config.Config, pipeline event.Pipeline, log *slog.Logger) (ledger, func(), error) {
			return app.OpenLedgerReader(ctx, c, pipeline, log)
		},
		queueArguments: app.QueueArguments,
		askPostgres:    askPostgres,
		terminal:       isTerminal(stderr),
		width:          terminalWidth(stderr),
		transport:      http.DefaultTransport,
	}
	return p.run(ctx, args)
}

// program is one run of the command line. Its fields are what tests replace.
type program struct {
	modules  []module.Module
	in       io.Reader
	out, err io.Writer
	env      []string
	serve    func(context.Context, app.Options) error
	// What the commands open that look at a line from outside.
	openBus        func(config.Config, *slog.Logger) (bus.Bus, error)
	openLedger     func(context.Context, config.Config, event.Pipeline, *slog.Logger) (_ ledger, closeAll func(), _ error)
	queueArguments func(config.Config) map[string]any
	askPostgres    func(ctx context.Context, key, dsn string) (database, error)

	terminal  bool       // err is one
	width     func() int // of that terminal in columns, 0 if nothing can be drawn on it
	transport http.RoundTripper

	configFile string // --config
	helpErr    error  // of help that was asked for a command that does not exist
	started    bool   // arguments and flags were right, the command has begun
}

func (p *program) run(ctx context.Context, args []string) int {
	root := p.command()
	root.SetArgs(append([]string{}, args...)) // nil would be those of the process
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = p.helpErr
	}
	if err == nil {
		return 0
	}
	return p.report(cmd, err)
}

// report says on stderr what went wrong and returns the exit code.
func (p *program) report(cmd *cobra.Command, err error) int {
	code := exitFailure
	var coded interface{ ExitCode() int }
	var conflict *bus.ConflictError
	var pipeline *bus.PipelineError
	switch {
	case errors.As(err, &coded):
		code = coded.ExitCode()
	case errors.As(err, &conflict), errors.As(err, &pipeline):
		code = exitConfig // it does not fit what is there, and waiting does not help
	case !p.started:
		code = exitUsage
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(p.err, "pizzamill: %s\n", text)
	}
	if code == exitUsage {
		fmt.Fprintf(p.err, "%s --help says more\n", cmd.CommandPath())
	}
	return code
}

// load reads the configuration. flags are those that were given to the command.
func (p *program) load(flags map[string]string) (config.Loaded, error) {
	known := config.Names{Modules: []string{}, Stages: []string{}}
	for _, m := range p.modules {
		known.Modules = append(known.Modules, m.Name)
		if m.Stage {
			known.Stages = append(known.Stages, m.Name)
		}
		if m.Ledger {
			known.Ledger = append(known.Ledger, m.Name)
		}
		if m.Ledger && m.Consumes != nil {
			known.Writers = append(known.Writers, m.Name)
		}
	}
	return config.Load(config.Source{File: p.configFile, Env: p.env, Flags: flags, Known: known})
}

// exitError is an error that knows its exit code. Without err there is nothing
// to say that has not been said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }
func (e *exitError) ExitCode() int { return e.code }

func usagef(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// untilSignal returns a context that the first signal ends.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case <-signals:
			cancel()
		case <-done:
			return
		}
		select {
		case <-signals:
			os.Exit(exitInterrupted)
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// terminalWidth returns how to ask for the width of the terminal behind w.
func terminalWidth(w io.Writer) func() int {
	if !isTerminal(w) || os.Getenv("TERM") == "dumb" {
		return func() int { return 0 }
	}
	f := w.(*os.File)
	return func() int {
		width, _, err := term.GetSize(int(f.Fd()))
		if err != nil || width <= 0 {
			return 80 // a terminal that does not say
		}
		return width
	}
}

// printable replaces what a terminal would take for a command: text that others
// wrote is shown, not obeyed.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, s)
}
