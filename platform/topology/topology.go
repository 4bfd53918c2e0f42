// Package topology says which module consumes and produces which topic: what
// the pipeline and the list of modules amount to, and what it is called on a
// broker.
package topology

import (
	"slices"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/module"
)

// Topology is the wiring of one pipeline. Its JSON form is part of the API.
type Topology struct {
	Bus     string   `json:"bus"`
	Stages  []string `json:"stages"`
	Modules []Module `json:"modules"`
	Topics  []string `json:"topics"`

	// One of them says what is on the broker, in the command line's output only.
	Kafka *Kafka `json:"kafka,omitempty"`
	AMQP  *AMQP  `json:"amqp,omitempty"`
}

// Module is one module's place in the wiring.
type Module struct {
	Name     string   `json:"name"`
	Consumes []string `json:"consumes"`
	Produces []string `json:"produces"`
	Running  bool     `json:"running"`
	External bool     `json:"external"` // run by someone else
}

// Build wires the modules along a pipeline on the bus of that name. Stages
// stand in the order of the pipeline, where the first of them is in mods; those
// that are not in it are left out. running says which modules run; external are
// the stages that someone else runs, which need not be in mods.
func Build(p event.Pipeline, bus string, mods []module.Module, running func(name string) bool, external ...string) Topology {
	t := Topology{
		Bus:     bus,
		Stages:  slices.Clone(p.Stages()),
		Modules: []Module{},
		Topics:  append(slices.Clone(p.Topics()), event.TopicDeadLetters),
	}
	stages := stageModules(p, mods, running, external)
	for _, m := range mods {
		if m.Stage {
			t.Modules, stages = append(t.Modules, stages...), nil
			continue
		}
		t.Modules = append(t.Modules, Module{
			Name:     m.Name,
			Consumes: topics(m.Consumes, p),
			Produces: topics(m.Produces, p),
			Running:  running(m.Name),
		})
	}
	t.Modules = append(t.Modules, stages...) // mods has none
	return t
}

// stageModules returns the stages in the order of the pipeline.
func stageModules(p event.Pipeline, mods []module.Module, running func(name string) bool, external []string) []Module {
	var stages []Module
	for _, name := range p.Stages() {
		input, _ := p.Input(name)
		m := Module{Name: name, Consumes: []string{input}, Produces: []string{event.Topic(name)}, External: true}
		i := slices.IndexFunc(mods, func(m module.Module) bool { return m.Stage && m.Name == name })
		if i >= 0 && !slices.Contains(external, name) {
			m = Module{Name: name, Consumes: topics(mods[i].Consumes, p), Produces: topics(mods[i].Produces, p), Running: running(name)}
		}
		stages = append(stages, m)
	}
	return stages
}

func topics(list func(event.Pipeline) []string, p event.Pipeline) []string {
	if list == nil {
		return []string{}
	}
	return append([]string{}, list(p)...)
}

// Live returns the topology as the bus has it: a module runs, in whatever
// process, if each topic that it consumes has a live consumer of its group. Of
// modules that consume nothing the bus knows nothing; they stay as they are.
func (t Topology) Live(groups []bus.Group) Topology {
	t.Modules = slices.Clone(t.Modules)
	for i := range t.Modules {
		m := &t.Modules[i]
		if len(m.Consumes) > 0 {
			m.Running = !slices.ContainsFunc(m.Consumes, func(topic string) bool { return consumers(groups, topic, m.Name) == 0 })
		}
	}
	return t
}

// consumers returns how many live consumers a module has on a topic.
func consumers(groups []bus.Group, topic, module string) int {
	for _, g := range groups {
		if g.Topic == topic && g.Group == module {
			return g.Consumers
		}
	}
	return 0
}
