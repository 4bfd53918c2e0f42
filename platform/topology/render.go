package topology

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteJSON writes the topology as one line of JSON. Like WriteText it is for one
// that was made from a configuration, whose modules are selected by it: whether
// they run nobody was asked, and null.
func (t Topology) WriteJSON(w io.Writer) error {
	type planned struct {
		Module
		Running  *bool `json:"running"`
		Selected bool  `json:"selected"`
	}
	modules := make([]planned, len(t.Modules))
	for i, m := range t.Modules {
		modules[i] = planned{Module: m, Selected: m.Running}
	}
	return json.NewEncoder(w).Encode(struct {
		Topology
		Modules []planned `json:"modules"`
	}{t, modules})
}

// WriteText writes the topology as an aligned table.
func (t Topology) WriteText(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "bus     %s\nstages  %s\n\n", t.Bus, strings.Join(t.Stages, " → "))
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "MODULE\tSELECTED\tCONSUMES\tPRODUCES")
	for _, m := range t.Modules {
		selected := "no"
		switch {
		case m.External:
			selected = "external"
		case m.Running:
			selected = "yes"
		}
		name := m.Name
		for i := range max(1, len(m.Consumes), len(m.Produces)) {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", name, selected, item(m.Consumes, i), item(m.Produces, i))
			name, selected = "", ""
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

func item(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return ""
}

// WriteMermaid writes the topology as a Mermaid flowchart: boxes are modules,
// those with a dashed border run by someone else, and rounded ones topics. If
// consumers is not nil, it says how many live consumers a module has on a topic;
// an arrow has their number, and is dotted where there is none.
func (t Topology) WriteMermaid(w io.Writer, consumers func(topic, module string) int) error {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	for _, topic := range t.Topics {
		fmt.Fprintf(&b, "    %s([%q])\n", topicNode(topic), topic)
	}
	for _, m := range t.Modules {
		if len(m.Consumes)+len(m.Produces) > 0 {
			name := m.Name
			if m.External {
				name += " (external)"
			}
			fmt.Fprintf(&b, "    %s[%q]\n", moduleNode(m.Name), name)
		}
	}
	for _, m := range t.Modules {
		for _, topic := range m.Consumes {
			arrow := "-->"
			if consumers != nil {
				if n := consumers(topic, m.Name); n > 0 {
					arrow = fmt.Sprintf("-->|%d|", n)
				} else {
					arrow = "-.->|no consumer|"
				}
			}
			fmt.Fprintf(&b, "    %s %s %s\n", topicNode(topic), arrow, moduleNode(m.Name))
		}
		for _, topic := range m.Produces {
			fmt.Fprintf(&b, "    %s --> %s\n", moduleNode(m.Name), topicNode(topic))
		}
	}
	for _, m := range t.Modules {
		if m.External {
			fmt.Fprintf(&b, "    style %s stroke-dasharray: 5 5\n", moduleNode(m.Name))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// The names of nodes have a prefix: a module and a topic may share a name, and
// a stage may be called like a word of Mermaid's.
func topicNode(topic string) string { return "t_" + strings.ReplaceAll(topic, "-", "_") }
func moduleNode(name string) string { return "m_" + name }
