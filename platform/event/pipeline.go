// Package event holds what travels on the bus: the pipeline with its topics,
// the identities of pizzas and events, and the JSON body that carries a pizza.
//
// Nothing here does I/O. Everything is a function of its arguments, so two
// processes that see the same event agree on its identity without talking.
package event

import (
	"fmt"
	"regexp"
	"slices"
)

// Names that the pipeline reserves.
const (
	// StepPizza is the first step of every pizza: the relay has put it on the bus.
	StepPizza = "pizza"
	// TopicDeadLetters carries the events that a module could not process.
	TopicDeadLetters = "pizza-dead-letters"
)

// stageName is what a stage may be called. It becomes a JSON field, a topic
// and a consumer group.
var stageName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// reserved are the JSON fields of events and of the API that a stage must not
// overwrite, and the names of modules that are no stages.
var reserved = []string{
	"id", "order_id", "number", "replay", "status", "stage", "completed_at",
	"pizza", "journal", "deadletter", "ui", "all",
}

// Pipeline is the ordered list of stages: the only place that knows who
// follows whom. The zero value has no stages and no use. It is immutable and
// safe for concurrent use.
type Pipeline struct {
	steps  []string // StepPizza, then the stages
	topics []string // the topic that each step's events travel on
}

// NewPipeline checks the names and their order and returns the pipeline.
// The error names every bad stage in one message.
func NewPipeline(stages ...string) (Pipeline, error) {
	if len(stages) == 0 {
		return Pipeline{}, fmt.Errorf("a pipeline needs at least one stage")
	}
	p := Pipeline{steps: []string{StepPizza}, topics: []string{StepPizza}}
	for _, s := range stages {
		if err := CheckStageName(s); err != nil {
			return Pipeline{}, err
		}
		if slices.Contains(p.steps, s) {
			return Pipeline{}, fmt.Errorf("stage %q is listed twice", s)
		}
		p.steps = append(p.steps, s)
		p.topics = append(p.topics, Topic(s))
	}
	return p, nil
}

// CheckStageName reports why s cannot be the name of a stage, or nil.
func CheckStageName(s string) error {
	if !stageName.MatchString(s) {
		return fmt.Errorf("stage name %q: want a lower-case letter, then up to 31 of a-z, 0-9 and _", s)
	}
	if slices.Contains(reserved, s) {
		return fmt.Errorf("stage name %q is reserved", s)
	}
	return nil
}

// Topic returns the topic that the events of a step travel on: "pizza" for the
// first step, "pizza-with-<stage>" for a stage.
func Topic(step string) string {
	if step == StepPizza {
		return StepPizza
	}
	return "pizza-with-" + step
}

// Stages returns the names of the stages in order. The caller must not change it.
func (p Pipeline) Stages() []string { return p.steps[1:] }

// Steps returns StepPizza and then the stages. The caller must not change it.
func (p Pipeline) Steps() []string { return p.steps }

// Topics returns the topic of each step, in order. The caller must not change it.
func (p Pipeline) Topics() []string { return p.topics }

// First returns the topic that new pizzas enter by.
func (p Pipeline) First() string { return p.topics[0] }

// Last returns the topic that carries finished pizzas.
func (p Pipeline) Last() string { return p.topics[len(p.topics)-1] }

// Input returns the topic that a stage consumes, or false if the stage is not
// in the pipeline.
func (p Pipeline) Input(stage string) (string, bool) {
	i := p.Index(stage)
	if i < 1 {
		return "", false
	}
	return p.topics[i-1], true
}

// StepOf returns the step whose events travel on a topic, or false if no step
// of the pipeline has that topic.
func (p Pipeline) StepOf(topic string) (string, bool) {
	i := slices.Index(p.topics, topic)
	if i < 0 {
		return "", false
	}
	return p.steps[i], true
}

// Index returns the place of a step in Steps, or -1.
func (p Pipeline) Index(step string) int { return slices.Index(p.steps, step) }

// Before returns the stages that a pizza on the topic of step has behind it,
// that one included: the fields that its body must have.
func (p Pipeline) Before(step string) []string {
	return p.steps[1 : p.Index(step)+1]
}
