package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/config"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
	"github.com/pizzamill/pizzamill/platform/topology"
)

// leftOver is what is on a broker of a bus that the ledger was on before.
type leftOver struct {
	Bus    string   `json:"bus"` // its identity
	Stages []string `json:"stages"`
	// Groups are the consumer groups, or the queues, that still exist.
	Groups []string `json:"groups"`
	// Consumers is how many live consumers they have: somebody uses the line.
	Consumers int `json:"consumers"`
	// Commands would remove what is left, if nobody uses it.
	Commands []string `json:"commands"`
	// Unknown says why its broker could not be asked.
	Unknown string `json:"unknown,omitempty"`
}

// findLeftOver asks the ledger on which buses it was, and each of them what is
// still there. It removes nothing.
func (p *program) findLeftOver(ctx context.Context, l line, identity string) ([]leftOver, error) {
	openCtx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	ledger, closeLedger, err := p.readLedger(openCtx, l)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no ledger at %s", l.Store.Path)
	}
	if err != nil {
		return nil, unreadable(err)
	}
	defer closeLedger()
	buses, err := ask(ctx, ledger.Buses)
	if err != nil {
		return nil, unreadable(err)
	}
	found := []leftOver{}
	for _, was := range buses {
		if was.Identity == identity {
			continue
		}
		o, err := p.askFormerBus(ctx, l, was)
		if err != nil {
			o.Unknown = err.Error()
		}
		if o.Unknown != "" || len(o.Groups) > 0 {
			found = append(found, o)
		}
	}
	return found, nil
}

// unreadable says that the ledger could not be read, and marks the error of one
// that gave no answer.
func unreadable(err error) error {
	text := fmt.Errorf("read the ledger: %w", err)
	if ledgerAway(err) {
		return &exitError{code: exitUnreachable, err: text}
	}
	return text
}

// lister is a bus that can list the queues of its broker; nil is a list that
// nobody can give.
type lister interface {
	Queues(ctx context.Context) ([]string, error)
}

// ourQueue is what queues of a line are called, without the prefix.
var ourQueue = regexp.MustCompile(`^pizza(-with-[a-z0-9_]+|-dead-letters)?\.[a-z0-9_]+$`)

// findOrphans returns the queues under the configured prefix that are none of
// this line: what is bound to a topic and consumed by nobody only grows.
func findOrphans(ctx context.Context, l line, b bus.Bus, identity string, known []bus.Group) ([]leftOver, error) {
	broker, ok := b.(lister)
	if !ok {
		return nil, nil
	}
	queues, err := ask(ctx, broker.Queues)
	if err != nil {
		return nil, away("the management API ([amqp] management_url)", err)
	}
	o := leftOver{Bus: identity, Stages: []string{}, Groups: []string{}, Commands: []string{}}
	for _, q := range queues {
		name, ours := strings.CutPrefix(q, l.Bus.Prefix)
		if ours && ourQueue.MatchString(name) && !slices.ContainsFunc(known, func(g bus.Group) bool { return g.Name == q }) {
			o.Groups = append(o.Groups, q)
		}
	}
	if len(o.Groups) == 0 {
		return nil, nil
	}
	o.Commands = removeFromRabbitMQ(l, o.Groups, nil)
	return []leftOver{o}, nil
}

// askFormerBus asks the configured broker of that kind, if it is the one.
func (p *program) askFormerBus(ctx context.Context, l line, was store.Bus) (leftOver, error) {
	o := leftOver{Bus: was.Identity, Stages: was.Stages, Groups: []string{}, Commands: []string{}}
	pipeline, err := event.NewPipeline(was.Stages...)
	if err != nil {
		return o, fmt.Errorf("its pipeline: %w", err)
	}
	c := l.Config
	c.Bus.Driver, c.Bus.Prefix = was.Driver, was.Prefix
	b, err := p.open(c, pipeline)
	if err != nil {
		return o, err
	}
	defer b.Close()
	identity, err := ask(ctx, b.Identity)
	switch {
	case err != nil:
		return o, fmt.Errorf("its broker cannot be asked: %w", err)
	case identity != was.Identity:
		return o, fmt.Errorf("it is on another broker than the configured one, which is %s", identity)
	}
	groups, err := ask(ctx, b.Groups)
	if err != nil {
		return o, fmt.Errorf("its broker cannot be asked: %w", err)
	}
	groups = slices.DeleteFunc(groups, func(g bus.Group) bool { return !g.Exists })
	for _, g := range groups {
		o.Groups = append(o.Groups, g.Name)
		o.Consumers += g.Consumers
	}
	if o.Consumers > 0 || len(groups) == 0 {
		return o, nil
	}
	topics := append(slices.Clone(pipeline.Topics()), event.TopicDeadLetters)
	for i := range topics {
		topics[i] = was.Prefix + topics[i]
	}
	if was.Driver == "kafka" {
		o.Commands = removeFromKafka(l, o.Groups, topics)
	} else {
		// On Kafka what says which pipeline is carried goes with the dead letters.
		o.Commands = removeFromRabbitMQ(l, o.Groups, append(topics, was.Prefix+topology.Marker))
	}
	return o, nil
}

func removeFromKafka(l line, groups, topics []string) []string {
	servers := " --bootstrap-server " + strings.Join(l.Kafka.Brokers, ",")
	var commands []string
	for _, g := range groups {
		commands = append(commands, "kafka-consumer-groups.sh"+servers+" --delete --group "+g)
	}
	for _, t := range topics {
		commands = append(commands, "kafka-topics.sh"+servers+" --delete --if-exists --topic "+t)
	}
	return commands
}

func removeFromRabbitMQ(l line, queues, exchanges []string) []string {
	vhost := "/"
	if u, err := url.Parse(l.AMQP.URL); err == nil && len(u.Path) > 1 {
		vhost = u.Path[1:]
	}
	var commands []string
	for _, q := range queues {
		commands = append(commands, "rabbitmqctl --vhost "+config.ShellQuote(vhost)+" delete_queue "+q)
	}
	for _, x := range exchanges {
		commands = append(commands, "rabbitmqadmin --vhost="+config.ShellQuote(vhost)+" delete exchange name="+x)
	}
	return commands
}

func (o leftOver) write(b *bytes.Buffer) {
	if len(o.Stages) > 0 {
		fmt.Fprintf(b, "\nleft over: bus %s, pipeline %s\n", printable(o.Bus), printable(strings.Join(o.Stages, " → ")))
	} else {
		fmt.Fprintf(b, "\nleft over: queues under this prefix that are not of this pipeline\n")
	}
	switch {
	case o.Unknown != "":
		fmt.Fprintf(b, "  %s\n", printable(o.Unknown))
		return
	case o.Consumers > 0:
		fmt.Fprintf(b, "  somebody uses it: it has %d live consumers\n", o.Consumers)
	default:
		b.WriteString("  no process of this line consumes it; these commands would remove it:\n")
	}
	for _, c := range o.Commands {
		fmt.Fprintf(b, "    %s\n", printable(c))
	}
}
