package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// groupLag is how far a module is behind on a topic.
type groupLag struct {
	Module string `json:"module"`
	Topic  string `json:"topic"`
	Lag    int64  `json:"lag"`
}

func (p *program) lagCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "lag",
		Short: "Show how many messages each module has yet to acknowledge",
		Long: `Asks a running pizzamill, any process of a line, how many messages of each topic
each module has yet to acknowledge: on Kafka the lag of the consumer group, on
RabbitMQ the depth of the queue (without [amqp] management_url only the messages
that nobody has in hand), on gochannel the backlog of the process.`,
		Example: `  pizzamill lag
  pizzamill lag --admin http://127.0.0.1:8081 -o json`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	admin := adminFlag(c)
	output := outputFlag(c, "text", "json")
	c.RunE = interruptible(func(cmd *cobra.Command, _ []string) error {
		client, err := p.adminClient(*admin)
		if err != nil {
			return err
		}
		body, err := client.do(cmd.Context(), http.MethodGet, client.url("api", "lag"), nil, nil)
		if err != nil {
			return fmt.Errorf("lag: %w", err)
		}
		if output.value == "json" {
			return writeJSON(p.out, body)
		}
		var answer struct {
			Groups []groupLag `json:"groups"`
		}
		if err := json.Unmarshal(body, &answer); err != nil {
			return fmt.Errorf("the server's answer is no lag: %w", err)
		}
		return writeLag(p.out, answer.Groups)
	})
	return c
}

// writeLag writes the lag as a table.
func writeLag(w io.Writer, groups []groupLag) error {
	var b bytes.Buffer
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "MODULE\tTOPIC\tLAG")
	for _, g := range groups {
		fmt.Fprintf(table, "%s\t%s\t%d\n", printable(g.Module), printable(g.Topic), g.Lag)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := b.WriteTo(w)
	return err
}
