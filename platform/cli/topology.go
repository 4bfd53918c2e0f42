package cli

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/pizzamill/pizzamill/platform/topology"
)

func (p *program) topologyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "topology",
		Short: "Show which module consumes and produces which topic",
		Long: `Shows what the configured pipeline amounts to: which module consumes and
produces which topic, and which of them this configuration selects. On a broker
-o json adds the topics and groups, or the exchanges and queues with their
arguments.

With --check it asks the broker who consumes, and on gochannel the process that
runs (its admin listener). It exits with 0 if every module has a live consumer
on each of its topics, with 1 if not, and with 4 if that or what is left over
cannot be found out since somebody does not answer. What is left over on the
broker of former pipelines and prefixes that the ledger remembers is listed with
the commands that would remove it; nothing is removed. -o mermaid draws how many
consumers there are, and no more.`,
		Example: `  pizzamill topology
  pizzamill topology -o json
  PIZZAMILL_PIPELINE_STAGES=sauce,crust pizzamill topology -o mermaid
  pizzamill topology --check --bus kafka`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	output := outputFlag(c, "text", "mermaid", "json")
	busFlag(c)
	check := c.Flags().Bool("check", false, "ask who consumes, and what is left over")
	c.RunE = interruptible(func(cmd *cobra.Command, _ []string) error {
		l, err := p.loadLine(cmd)
		if err != nil {
			return err
		}
		if *check {
			return p.checkTopology(cmd.Context(), l, output.value)
		}
		t := p.topology(l)
		switch output.value {
		case "json":
			return t.WriteJSON(p.out)
		case "mermaid":
			return t.WriteMermaid(p.out, nil)
		default:
			return t.WriteText(p.out)
		}
	})
	return c
}

// topology is what a line amounts to, with what it has on its broker.
func (p *program) topology(l line) topology.Topology {
	t := topology.Build(l.pipeline, l.Bus.Driver, p.modules, l.Selects, l.Pipeline.External...)
	switch l.Bus.Driver {
	case "kafka":
		return t.OnKafka(l.Bus.Prefix, l.Kafka.Partitions, l.Kafka.ReplicationFactor)
	case "amqp":
		return t.OnAMQP(l.Bus.Prefix, p.queueArguments(l.Config))
	default:
		return t
	}
}

func (p *program) writeValue(v any) error { return json.NewEncoder(p.out).Encode(v) }
