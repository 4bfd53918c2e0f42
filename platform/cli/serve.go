package cli

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pizzamill/pizzamill/platform/app"
	"github.com/pizzamill/pizzamill/platform/config"
	"github.com/pizzamill/pizzamill/platform/telemetry"
	"github.com/pizzamill/pizzamill/platform/version"
)

func (p *program) serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the modules (what pizzamill does without a command)",
		Long: `Runs the modules of this process and prints where they can be reached. On
SIGINT or SIGTERM it takes no more orders, finishes what is in hand and exits
with 0; a second signal ends it at once, with 130. It waits for a broker or a
database that is away, and says so.

A flag wins over the environment, that over the file, that over the default.`,
		Example: `  pizzamill serve --listen :8080
  pizzamill serve --config pizza.toml
  PIZZAMILL_PIPELINE_STAGES=crust,sauce,cheese pizzamill serve

Split over three processes, with Kafka between them (or RabbitMQ: --bus amqp):
  pizzamill serve --modules pizza,journal,deadletter,ui --bus kafka
  pizzamill serve --modules sauce,cheese --bus kafka
  pizzamill serve --modules meat,veggies --bus kafka

With PostgreSQL every module can have a process of its own, or several:
  export PIZZAMILL_STORE_DRIVER=postgres PIZZAMILL_STORE_DSN=postgres://…
  pizzamill serve --modules journal --bus kafka --admin-listen 127.0.0.1:0`,
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
		Short: "Print the values in effect and where each comes from, no secrets",
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
		Short:   "Print a configuration file with every key and its default",
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
