// Package topology says which module consumes and produces which topic: what
// the pipeline and the list of modules amount to.
package topology

import (
	"slices"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/module"
)

// Topology is the wiring of one pipeline. Its JSON form is part of the API.
type Topology struct {
	Bus     string   `json:"bus"`
	Stages  []string `json:"stages"`
	Modules []Module `json:"modules"`
	Topics  []string `json:"topics"`
}

// Module is one module's place in the wiring.
type Module struct {
	Name     string   `json:"name"`
	Consumes []string `json:"consumes"`
	Produces []string `json:"produces"`
	Running  bool     `json:"running"`  // in this process
	External bool     `json:"external"` // run by someone else
}

// Build wires the modules along a pipeline on the bus of that name. Stages
// stand in the order of the pipeline, where the first of them is in mods; those
// that are not in it are left out. running says which modules run in this process.
func Build(p event.Pipeline, bus string, mods []module.Module, running func(name string) bool) Topology {
	t := Topology{
		Bus:     bus,
		Stages:  slices.Clone(p.Stages()),
		Modules: []Module{},
		Topics:  append(slices.Clone(p.Topics()), event.TopicDeadLetters),
	}
	for _, m := range inOrder(p, mods) {
		t.Modules = append(t.Modules, Module{
			Name:     m.Name,
			Consumes: topics(m.Consumes, p),
			Produces: topics(m.Produces, p),
			Running:  running(m.Name),
		})
	}
	return t
}

// inOrder returns the modules that have a place in the pipeline.
func inOrder(p event.Pipeline, mods []module.Module) []module.Module {
	var stages []module.Module
	for _, m := range mods {
		if m.Stage && p.Index(m.Name) > 0 {
			stages = append(stages, m)
		}
	}
	slices.SortFunc(stages, func(a, b module.Module) int { return p.Index(a.Name) - p.Index(b.Name) })
	var all []module.Module
	for _, m := range mods {
		if m.Stage {
			all, stages = append(all, stages...), nil
			continue
		}
		all = append(all, m)
	}
	return all
}

func topics(list func(event.Pipeline) []string, p event.Pipeline) []string {
	if list == nil {
		return []string{}
	}
	return append([]string{}, list(p)...)
}
