package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pizzamill/pizzamill/platform/event"
)

// journalEvent is what the command line reads of a pizza's event.
type journalEvent struct {
	Topic  string                     `json:"topic"`
	At     time.Time                  `json:"at"`
	Source string                     `json:"source"`
	Data   map[string]json.RawMessage `json:"data"`
}

func (p *program) journalCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "journal PIZZA-ID",
		Short: "Show the events of one pizza",
		Long: `Shows each event of a pizza: when it happened, how long after the one before, on
which topic, which module made it, and what it added. A pizza's ID is that of
its order, a dash, and its number in it.`,
		Example: `  pizzamill journal 06h1bb6qr0h0csw5-7
  pizzamill journal 06h1bb6qr0h0csw5-7 -o json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("journal takes one argument, the ID of a pizza, not %d", len(args))
			}
			if _, err := event.ParsePizzaID(args[0]); err != nil {
				return usagef("%q: %w", args[0], err)
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	server := serverFlag(c)
	output := outputFlag(c, "text", "json")
	c.RunE = interruptible(func(cmd *cobra.Command, args []string) error {
		client, err := p.client(*server, "--server", mainListener)
		if err != nil {
			return err
		}
		body, err := client.do(cmd.Context(), http.MethodGet, client.url("api", "pizzas", args[0], "journal"), nil, nil)
		if err != nil {
			return fmt.Errorf("journal of pizza %s: %w", args[0], err)
		}
		if output.value == "json" {
			return writeJSON(p.out, body)
		}
		var journal struct {
			Events []journalEvent `json:"events"`
		}
		if err := json.Unmarshal(body, &journal); err != nil {
			return fmt.Errorf("the server's answer is no journal: %w", err)
		}
		return writeJournal(p.out, journal.Events)
	})
	return c
}

// writeJournal writes the events as a table.
func writeJournal(w io.Writer, events []journalEvent) error {
	if len(events) == 0 {
		_, err := fmt.Fprintln(w, "no events yet")
		return err
	}
	var b bytes.Buffer
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TIME\t     +MS\tTOPIC\tSOURCE\tADDED")
	before := events[0].At
	for _, e := range events {
		fmt.Fprintf(table, "%s\t%8d\t%s\t%s\t%s\n", event.FormatTime(e.At),
			e.At.Sub(before).Milliseconds(), printable(e.Topic), orDash(e.Source), orDash(e.added()))
		before = e.At
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := b.WriteTo(w)
	return err
}

// added returns the ingredient that an event brought: the field that bears the
// name of its topic's stage.
func (e journalEvent) added() string {
	stage, ok := strings.CutPrefix(e.Topic, event.Topic(""))
	if !ok {
		return ""
	}
	var ingredient string
	if json.Unmarshal(e.Data[stage], &ingredient) != nil {
		return ""
	}
	return ingredient
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return printable(s)
}
