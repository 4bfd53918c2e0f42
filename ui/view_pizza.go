package ui

import (
	"slices"
	"strings"
	"time"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

// state is what a thing on the page is doing. It sets colour and icon, and
// always stands beside its word.
type state string

const (
	stComplete state = "complete"
	stCooking  state = "cooking"
	stWaiting  state = "waiting" // no stage done yet
	stDead     state = "dead-lettered"
	stFailed   state = "failed"
	stPaused   state = "reconnecting" // the line, while its broker is away
)

// icon returns the symbol of a state: each has a shape of its own.
func (s state) icon() string {
	switch s {
	case stComplete:
		return "i-complete"
	case stCooking:
		return "i-cooking"
	case stWaiting:
		return "i-waiting"
	default:
		return "i-dead"
	}
}

// pizzaView is a pizza as cards, small pictures and its own page show it.
type pizzaView struct {
	ID      event.PizzaID
	State   state
	Label   string // "complete", "at cheese"
	Name    phrase // "Pesto, burrata …"
	Layers  []layer
	Steps   []stepView
	On      []ingredient
	Failure *store.Failure
	// Inferred is true while a step has the time of a later one: its own event
	// may still come.
	Inferred bool
}

// stepView is a line of a card: one step, reached or not.
type stepView struct {
	Name  string
	Class string    // done, now, failed or ""
	At    time.Time // of a done one
	Note  string    // of one that is now or failed
}

// viewPizza makes what pages show of a pizza, by the pipeline that the process has.
func viewPizza(p store.Pizza, pl event.Pipeline) pizzaView {
	v := pizzaView{ID: p.ID, On: ingredients(p), Failure: p.Failure}
	v.State, v.Label = stateOf(p, pl)
	v.Name = nameOf(p, v.On)
	v.Layers = picture(p.ID, baseOf(p), v.On)
	v.Steps = stepsOf(p, pl)
	v.Inferred = slices.ContainsFunc(p.Steps, func(s store.Step) bool { return s.Inferred })
	return v
}

// ingredients reads from a pizza's body what its stages have put on.
func ingredients(p store.Pizza) []ingredient {
	if len(p.Steps) == 0 || p.Body == nil {
		return nil
	}
	body, err := event.Parse(p.Body, nil)
	if err != nil { // the ledger takes no such body
		return nil
	}
	on := make([]ingredient, 0, len(p.Steps))
	for _, st := range p.Steps {
		if value, ok := body.Field(st.Name); ok && st.Name != event.StepPizza {
			on = append(on, ingredient{Stage: st.Name, Value: value})
		}
	}
	return on
}

// nextStage returns the first stage of the pipeline that a pizza has not passed, or "".
func nextStage(p store.Pizza, pl event.Pipeline) string {
	for _, s := range pl.Stages() {
		if !reached(p, s) {
			return s
		}
	}
	return ""
}

func reached(p store.Pizza, step string) bool {
	return slices.ContainsFunc(p.Steps, func(s store.Step) bool { return s.Name == step })
}

func stateOf(p store.Pizza, pl event.Pipeline) (state, string) {
	switch {
	case p.Status == store.Complete:
		return stComplete, "complete"
	case p.Status == store.DeadLettered:
		return stDead, "dead-lettered"
	case p.Stage() == "":
		return stWaiting, "waiting"
	}
	if next := nextStage(p, pl); next != "" {
		return stCooking, "at " + next
	}
	return stCooking, "cooking"
}

// nameOf calls a pizza as a menu would: "Pesto, burrata and basil"; one that is
// not complete says so with three dots.
func nameOf(p store.Pizza, on []ingredient) phrase {
	values := make([]phrase, 0, len(on))
	for _, in := range on {
		switch {
		case strings.EqualFold(in.Value, "none"):
		case len(values) == 0:
			values = append(values, theirs(capital(in.Value)))
		default:
			values = append(values, theirs(in.Value))
		}
	}
	n := len(values)
	switch {
	case n == 0 && len(p.Steps) == 0:
		return ours("Not on the line yet")
	case n == 0 && p.Status != store.Complete:
		return ours("Plain dough, so far")
	case n == 0:
		return ours("Plain dough")
	case p.Status != store.Complete:
		return append(list(values, ", "), span{Text: " …"})
	default:
		return list(values, " and ")
	}
}

// stepsOf lists the steps of a pizza: those it has, in the order it has them,
// then those of the pipeline that are still to come. A complete pizza has none
// to come, whatever the pipeline is by now.
func stepsOf(p store.Pizza, pl event.Pipeline) []stepView {
	steps := make([]stepView, 0, len(pl.Steps()))
	for _, s := range p.Steps {
		steps = append(steps, stepView{Name: s.Name, Class: "done", At: s.At})
	}
	failed := ""
	if p.Failure != nil {
		failed = p.Failure.Module
	}
	if p.Status != store.Complete {
		now := ""
		if p.Status == store.Cooking && p.Stage() != "" {
			now = nextStage(p, pl)
		}
		for _, name := range pl.Steps() {
			switch {
			case reached(p, name):
			case name == failed:
				steps = append(steps, failedStep(p.Failure))
				failed = ""
			case name == now:
				steps = append(steps, stepView{Name: name, Class: "now", Note: "cooking"})
			default:
				steps = append(steps, stepView{Name: name})
			}
		}
	}
	if failed != "" { // a module that is no stage to come: pizza, which stores, or one of a former pipeline
		steps = append(steps, failedStep(p.Failure))
	}
	return steps
}

func failedStep(f *store.Failure) stepView {
	return stepView{Name: f.Module, Class: "failed", Note: failedTimes(*f)}
}

func failedTimes(f store.Failure) string {
	if f.Attempts < 1 {
		return "failed"
	}
	return "failed " + times(f.Attempts)
}

// errorChars is how much of an error a page shows.
const errorChars = 600

// failureText says in a sentence why a pizza is dead-lettered.
func failureText(f store.Failure) phrase {
	said := span{Text: " failed " + times(max(1, f.Attempts)) + ": "}
	return append(append(theirs(f.Module), said), theirs(cut(f.Error, errorChars))...)
}

// baked is how long a complete pizza took from its dispatch on; false if that
// cannot be known.
func baked(p store.Pizza) (time.Duration, bool) {
	if len(p.Steps) == 0 || p.CompletedAt.IsZero() {
		return 0, false
	}
	return p.CompletedAt.Sub(p.Steps[0].At), true
}

// tapeLine is one stream event on the tape.
type tapeLine struct {
	State state // "" for the ordinary ones
	At    time.Time
	Topic string
	Text  phrase
}

// viewEvent says a stream event in a line.
func viewEvent(e store.StreamEvent) tapeLine {
	number := "#" + num(e.Pizza.Number)
	switch e.Kind {
	case store.EventDispatched:
		return tapeLine{At: e.At, Topic: event.StepPizza, Text: ours(number + ": ordered")}
	case store.EventStage:
		return tapeLine{At: e.At, Topic: event.Topic(e.Step), Text: append(ours(number+": "), theirs(e.Value)...)}
	case store.EventDeadLetter:
		return tapeLine{State: stDead, At: e.At, Topic: event.TopicDeadLetters, Text: append(ours(number+": "), list([]phrase{theirs(e.Module), theirs(cut(e.Error, 200))}, ", ")...)}
	default:
		text := number
		if e.Done != nil {
			if d, ok := baked(*e.Done); ok {
				text += ": in " + took(d)
			}
		}
		return tapeLine{State: stComplete, At: e.At, Topic: "complete", Text: ours(text)}
	}
}

// viewEvents turns stream events, oldest first, into lines, newest first, and
// leaves out what a full tape would drop again.
func viewEvents(events []store.StreamEvent) []tapeLine {
	if len(events) > tapeLines {
		events = events[len(events)-tapeLines:]
	}
	lines := make([]tapeLine, 0, len(events))
	for _, e := range slices.Backward(events) {
		lines = append(lines, viewEvent(e))
	}
	return lines
}
