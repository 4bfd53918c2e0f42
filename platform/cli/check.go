package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/module"
	"github.com/pizzamill/pizzamill/platform/topology"
)

// checked is what topology --check finds. Its JSON form is the command's output.
type checked struct {
	Bus     string         `json:"bus"` // its identity; on gochannel the process that was asked
	Modules []checkedGroup `json:"modules"`
	// Unconsumed are the topics that a module without a live consumer leaves lying.
	Unconsumed []unconsumed `json:"unconsumed"`
	LeftOver   []leftOver   `json:"left_over"`
	// Unknown says why the ledger could not be asked what is left over.
	Unknown string `json:"left_over_unknown,omitempty"`

	unreachable bool // what could have told gave no answer
}

// checkedGroup is a module on one of its topics.
type checkedGroup struct {
	Name      string `json:"name"`
	Topic     string `json:"topic"`
	Group     string `json:"group"` // the broker's name: a consumer group, a queue
	Exists    bool   `json:"exists"`
	Consumers int    `json:"consumers"`
	External  bool   `json:"external"`
}

type unconsumed struct {
	Topic  string `json:"topic"`
	Module string `json:"module"`
}

// checkTopology asks who consumes and writes what it learns.
func (p *program) checkTopology(ctx context.Context, l line, output string) error {
	look := p.checkBroker
	if !l.OnBroker() {
		look = p.checkProcess
	}
	found, err := look(ctx, l)
	if err != nil {
		return err
	}
	for _, m := range found.Modules {
		if m.Consumers == 0 {
			found.Unconsumed = append(found.Unconsumed, unconsumed{m.Topic, m.Name})
		}
	}
	switch output {
	case "json":
		err = p.writeValue(found)
	case "mermaid":
		err = p.topology(l).WriteMermaid(p.out, found.consumers)
	default:
		err = p.writeChecked(l, found)
	}
	switch { // what is wrong is on stdout
	case err != nil:
		return err
	case len(found.Unconsumed) > 0:
		return &exitError{code: exitFailure}
	case found.unreachable:
		return &exitError{code: exitUnreachable}
	default:
		return nil
	}
}

// consumers returns how many live consumers a module has on a topic.
func (c *checked) consumers(topic, module string) int {
	i := slices.IndexFunc(c.Modules, func(m checkedGroup) bool { return m.Topic == topic && m.Name == module })
	if i < 0 {
		return 0
	}
	return c.Modules[i].Consumers
}

// checkBroker asks the broker.
func (p *program) checkBroker(ctx context.Context, l line) (*checked, error) {
	b, err := p.open(l.Config, l.pipeline)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	identity, err := ask(ctx, b.Identity)
	if err != nil {
		return nil, away(l.broker(), err)
	}
	groups, err := ask(ctx, b.Groups)
	if err != nil {
		return nil, away(l.broker(), err)
	}
	t := p.topology(l)
	found := &checked{Bus: identity, Modules: []checkedGroup{}, Unconsumed: []unconsumed{}, LeftOver: []leftOver{}}
	for _, m := range t.Modules {
		for _, topic := range m.Consumes {
			g := checkedGroup{Name: m.Name, Topic: topic, External: m.External}
			sub := bus.Subscription{Topic: topic, Group: m.Name}
			i := slices.IndexFunc(groups, func(g bus.Group) bool { return g.Subscription == sub })
			if i >= 0 {
				g.Group, g.Exists, g.Consumers = groups[i].Name, groups[i].Exists, groups[i].Consumers
			}
			found.Modules = append(found.Modules, g)
		}
	}
	orphans, orphanErr := findOrphans(ctx, l, b, identity, groups)
	former, formerErr := p.findLeftOver(ctx, l, identity)
	found.LeftOver = append(append(found.LeftOver, orphans...), former...)
	if err := errors.Join(orphanErr, formerErr); err != nil {
		found.Unknown = strings.ReplaceAll(err.Error(), "\n", "; ")
		var coded *exitError
		found.unreachable = errors.As(err, &coded) && coded.code == exitUnreachable
	}
	return found, nil
}

// checkProcess asks the process that has the gochannel, which alone knows.
func (p *program) checkProcess(ctx context.Context, _ line) (*checked, error) {
	client, err := p.adminClient("")
	if err != nil {
		return nil, err
	}
	body, err := client.do(ctx, http.MethodGet, client.url("api", "topology"), nil, nil)
	if err != nil {
		return nil, fmt.Errorf("messages on gochannel stay in one process, which alone knows who consumes: %w", err)
	}
	var t topology.Topology
	if err := json.Unmarshal(body, &t); err != nil {
		return nil, fmt.Errorf("the server's answer is no topology: %w", err)
	}
	found := &checked{Bus: t.Bus + ", the process at " + client.base.Redacted(), Modules: []checkedGroup{}, Unconsumed: []unconsumed{}, LeftOver: []leftOver{}}
	for _, m := range t.Modules {
		for _, topic := range m.Consumes {
			g := checkedGroup{Name: m.Name, Topic: topic, Group: m.Name, Exists: true, External: m.External}
			if m.Running {
				g.Consumers = 1
			}
			found.Modules = append(found.Modules, g)
		}
	}
	return found, nil
}

// writeChecked writes it for people.
func (p *program) writeChecked(l line, c *checked) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "bus  %s\n\n", printable(c.Bus))
	called := "GROUP"
	if l.Bus.Driver == "amqp" {
		called = "QUEUE"
	}
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "MODULE\tTOPIC\t%s\tCONSUMERS\n", called)
	for _, m := range c.Modules {
		count := fmt.Sprint(m.Consumers)
		if !m.Exists {
			count += " (not there yet)"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", printable(m.Name), printable(m.Topic), orDash(m.Group), count)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(c.Unconsumed) == 0 {
		b.WriteString("\nevery topic has its live consumers\n")
	} else {
		p.writeUnconsumed(&b, l, c.Unconsumed)
	}
	if c.Unknown != "" {
		fmt.Fprintf(&b, "\nwhat is left over of former pipelines and prefixes is not known: %s\n", printable(c.Unknown))
	}
	for _, o := range c.LeftOver {
		o.write(&b)
	}
	_, err := b.WriteTo(p.out)
	return err
}

// writeUnconsumed lists what lies, and what would bring a consumer.
func (p *program) writeUnconsumed(b *bytes.Buffer, l line, all []unconsumed) {
	b.WriteString("\nwithout a live consumer:\n")
	var ledgers, stages []string
	for _, u := range all {
		fmt.Fprintf(b, "  %s, for %s\n", printable(u.Topic), printable(u.Module))
		i := slices.IndexFunc(p.modules, func(m module.Module) bool { return m.Name == u.Module })
		switch {
		case i < 0 || l.IsExternal(u.Module):
			fmt.Fprintf(b, "    %s is an external stage: whoever runs it has to start it\n", printable(u.Module))
		case !p.modules[i].Ledger:
			stages = append(stages, u.Module)
		case !slices.Contains(ledgers, u.Module):
			ledgers = append(ledgers, u.Module)
		}
	}
	if !l.OnBroker() {
		return // whatever does not run there cannot run elsewhere
	}
	if len(ledgers) > 0 && l.Store.Driver == "sqlite" { // one process has the file
		ledgers = nil
		for _, m := range p.modules {
			if m.Ledger {
				ledgers = append(ledgers, m.Name)
			}
		}
	}
	if len(ledgers)+len(stages) > 0 {
		b.WriteString("to start what is missing:\n")
	}
	for _, modules := range [][]string{ledgers, stages} {
		if len(modules) > 0 {
			fmt.Fprintf(b, "  pizzamill serve --modules %s --bus %s\n", strings.Join(modules, ","), l.Bus.Driver)
		}
	}
}
