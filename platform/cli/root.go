package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pizzamill/pizzamill/platform/config"
	"github.com/pizzamill/pizzamill/platform/version"
)

// helpWidth is how many columns the help needs at most.
const helpWidth = 80

// suggestionDistance is how many letters a mistyped command may be off.
const suggestionDistance = 2

// command builds the tree of commands. Without a command, root serves.
func (p *program) command() *cobra.Command {
	root := p.serveCommand()
	root.Use = "pizzamill"
	root.Short = "An event-driven random pizza generator"
	root.Long = `pizzamill makes random pizzas: an order goes over a bus from stage to stage,
each adds an ingredient, and every step is an event one can watch.

Without a command it serves: everything in this one process, the order page on
http://127.0.0.1:8080/ and the kitchen on http://127.0.0.1:8081/.

Exit codes: 0 ok, 1 failure, 2 usage, 3 bad configuration, 4 something cannot
be reached, 5 partial success, 130 interrupted.`
	root.Example = `  pizzamill                        run everything, stop with Ctrl-C
  pizzamill order 12 --watch       order 12 pizzas and wait for them
  pizzamill config default         every key of the configuration
  pizzamill topology -o mermaid    a drawing of who consumes what
  pizzamill doctor                 check everything that a line stands on`
	root.Args = noSuchCommand
	root.Version = version.String()
	root.SetVersionTemplate(versionLine() + "\n")
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SuggestionsMinimumDistance = suggestionDistance
	root.SetIn(p.in)
	root.SetOut(p.out)
	root.SetErr(p.err)
	root.SetFlagErrorFunc(flagError)
	root.PersistentFlags().StringVar(&p.configFile, "config", "", "configuration `file` (default "+config.DefaultFile+" if there is one)")
	root.PersistentPreRun = func(*cobra.Command, []string) { p.started = true }

	serve := p.serveCommand()
	root.AddCommand(serve, p.topologyCommand(), p.orderCommand(), p.journalCommand(), p.lagCommand(),
		p.configCommand(), p.doctorCommand(), p.healthcheckCommand(), p.versionCommand())
	root.SetHelpCommand(helpCommand())
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", fmt.Sprintf(".FlagUsagesWrapped %d", helpWidth)))
	help := root.HelpFunc()
	root.SetHelpFunc(func(c *cobra.Command, args []string) {
		// cobra asks nobody whether the command of "sevre --help" exists.
		if c.HasAvailableSubCommands() {
			if p.helpErr = noSuchCommand(c, c.Flags().Args()); p.helpErr != nil {
				return
			}
		}
		help(c, args)
	})
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			asGroup(c)
		}
	}
	return root
}

// asGroup makes a command that is nothing without a subcommand refuse to be
// called without one.
func asGroup(c *cobra.Command) *cobra.Command {
	c.Args = noSuchCommand
	c.SuggestionsMinimumDistance = suggestionDistance
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		return usagef("%s: which one: %s?", cmd.Name(), strings.Join(commandNames(cmd), ", "))
	}
	return c
}

func commandNames(c *cobra.Command) []string {
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return names
}

// noSuchCommand refuses arguments where only names of commands may stand.
func noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		return usagef("unknown command %q: did you mean %q?", args[0], near[0])
	}
	if c.HasAvailableSubCommands() {
		return usagef("unknown command %q: there are %s", args[0], strings.Join(commandNames(c), ", "))
	}
	return usagef("%s has no command %q", c.CommandPath(), args[0])
}

// flagError adds the near miss to what cobra says about a flag.
func flagError(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near, ok := config.Nearest(unknown.GetSpecifiedName(), names); ok {
			err = fmt.Errorf("%w: did you mean --%s?", err, near)
		}
	}
	return &exitError{code: exitUsage, err: err}
}

func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Help about any command",
		RunE: func(c *cobra.Command, args []string) error {
			cmd, rest, err := c.Root().Find(args)
			if err != nil {
				return err
			}
			if err := noSuchCommand(cmd, rest); err != nil {
				return err
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
		ValidArgsFunction: func(c *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return commandNames(c.Root()), cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// oneOf is a flag with a few valid values; the first is the default.
type oneOf struct {
	value  string
	values []string
}

var _ pflag.Value = (*oneOf)(nil)

func (o *oneOf) String() string { return o.value }
func (o *oneOf) Type() string   { return strings.Join(o.values, "|") }

func (o *oneOf) Set(s string) error {
	if !slices.Contains(o.values, s) {
		return fmt.Errorf("want one of %s", strings.Join(o.values, ", "))
	}
	o.value = s
	return nil
}

// outputFlag adds -o with the formats that a command can write.
func outputFlag(c *cobra.Command, formats ...string) *oneOf {
	o := &oneOf{value: formats[0], values: formats}
	c.Flags().VarP(o, "output", "o", "how to write the result")
	if err := c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic("cli: " + err.Error()) // the flag was added a line above
	}
	return o
}
