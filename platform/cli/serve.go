package cli

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pizzamill/pizzamill/platform/app"
	"github.com/pizzamill/pizzamill/platform/config"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/telemetry"
	"github.com/pizzamill/pizzamill/platform/topology"
	"github.com/pizzamill/pizzamill/platform/version"
)

func (p *program) serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the modules until a signal (what pizzamill does without a command)",
		Long: `Runs the modules of this process and prints where they can be reached. On
SIGINT or SIGTERM it takes no more orders, finishes what is in hand and exits
with 0; a second signal ends it at once, with 130.

A flag wins over the environment, that over the file, that over the default.`,
		Example: `  pizzamill serve --listen :8080
  pizzamill serve --config pizza.toml
  PIZZAMILL_PIPELINE_STAGES=crust,sauce,cheese pizzamill serve`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := p.load(givenFlags(cmd))
			if err != nil {
				return err
			}
			log, err := telemetry.NewLogger(p.err, loaded.Log.Level, loaded.Log.Format, p.terminal)
			if err != nil {
				return fmt.Errorf("logger: %w", err)
			}
			log.Debug("configuration is read", "file", loaded.File)
			return p.serve(cmd.Context(), app.Options{Config: loaded.Config, Modules: p.modules, Log: log, Banner: p.out})
		},
	}
	for _, f := range config.Flags() {
		c.Flags().String(f.Name, f.Default, strings.TrimSuffix(f.Why, "."))
	}
	return c
}

// givenFlags returns the flags of serve that stand on the command line.
func givenFlags(c *cobra.Command) map[string]string {
	given := make(map[string]string)
	for _, f := range config.Flags() {
		if flag := c.Flags().Lookup(f.Name); flag.Changed {
			given[f.Name] = flag.Value.String()
		}
	}
	return given
}

func (p *program) topologyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "topology",
		Short: "Show which module consumes and produces which topic",
		Example: `  pizzamill topology
  pizzamill topology -o json
  PIZZAMILL_PIPELINE_STAGES=sauce,crust pizzamill topology -o mermaid`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	output := outputFlag(c, "text", "mermaid", "json")
	c.RunE = func(*cobra.Command, []string) error {
		loaded, err := p.load(nil)
		if err != nil {
			return err
		}
		pipeline, err := event.NewPipeline(loaded.Pipeline.Stages...)
		if err != nil {
			return fmt.Errorf("pipeline: %w", err)
		}
		t := topology.Build(pipeline, loaded.Bus.Driver, p.modules, loaded.Selects)
		switch output.value {
		case "json":
			return t.WriteJSON(p.out)
		case "mermaid":
			return t.WriteMermaid(p.out)
		default:
			return t.WriteText(p.out)
		}
	}
	return c
}

func (p *program) configCommand() *cobra.Command {
	check := &cobra.Command{
		Use:   "check",
		Short: "Find every mistake in the configuration",
		RunE: func(*cobra.Command, []string) error {
			loaded, err := p.load(nil)
			if err != nil {
				return err
			}
			from := "no file, environment and defaults"
			if loaded.File != "" {
				from = loaded.File + ", environment and defaults"
			}
			_, err = fmt.Fprintf(p.out, "ok: %s\n", from)
			return err
		},
	}
	show := &cobra.Command{
		Use:   "print",
		Short: "Print the effective values and where each came from; secrets are not shown",
		RunE: func(*cobra.Command, []string) error {
			loaded, err := p.load(nil)
			if err != nil {
				return err
			}
			return loaded.Print(p.out)
		},
	}
	example := &cobra.Command{
		Use:     "default",
		Short:   "Print a configuration file with every key, its default and what it is for",
		Example: `  pizzamill config default > config.toml`,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(p.out, config.Example())
			return err
		},
	}
	c := &cobra.Command{
		Use:   "config",
		Short: "Check or print the configuration",
		Long: `The configuration is read from ./config.toml if there is one (or the file of
--config) and from the environment: [section] key is PIZZAMILL_SECTION_KEY.`,
		Example: `  pizzamill config default > config.toml
  pizzamill config check
  PIZZAMILL_LOG_LEVEL=debug pizzamill config print`,
	}
	for _, sub := range []*cobra.Command{check, show, example} {
		sub.Args = cobra.NoArgs
		sub.ValidArgsFunction = cobra.NoFileCompletions
		c.AddCommand(sub)
	}
	return asGroup(c)
}

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "version",
		Short:             "Print which pizzamill this is",
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(p.out, versionLine())
			return err
		},
	}
}

func versionLine() string {
	return fmt.Sprintf("pizzamill %s %s %s/%s", version.String(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
