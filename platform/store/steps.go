package store

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pizzamill/pizzamill/platform/event"
)

// shownStep is a step with the time that readers see.
type shownStep struct {
	StepState
	shown int64
}

// arrange returns a pizza's steps in pipeline order with the times that readers
// see. The result does not depend on the order in which the facts came:
// a time is the greatest of the own events up to its step, and an inferred step
// has that of the next own one. So times never fall along a pizza.
func arrange(p event.Pipeline, steps []StepState) []shownStep {
	out := make([]shownStep, 0, len(steps))
	var gone []StepState // of steps that left the pipeline
	for _, name := range p.Steps() {
		for _, s := range steps {
			if s.Name == name {
				out = append(out, shownStep{StepState: s})
			}
		}
	}
	if len(out) < len(steps) {
		for _, s := range steps {
			if p.Index(s.Name) < 0 {
				gone = append(gone, s)
			}
		}
	}
	// What left the pipeline stands before the first step that came after it.
	for _, s := range gone {
		i := slices.IndexFunc(out, func(o shownStep) bool { return o.Event > s.Event })
		if i < 0 {
			i = len(out)
		}
		out = slices.Insert(out, i, shownStep{StepState: s})
	}
	show(out)
	return out
}

// show sets the times that readers see.
func show(steps []shownStep) {
	var highest int64
	pending := 0 // the first of a run of inferred steps before the current one
	for i := range steps {
		if steps[i].Inferred {
			continue
		}
		highest = max(highest, steps[i].At)
		for ; pending <= i; pending++ {
			steps[pending].shown = highest
		}
	}
	for ; pending < len(steps); pending++ { // implied by a dead letter: nothing own behind
		highest = max(highest, steps[pending].At)
		steps[pending].shown = highest
	}
}

// AppendSteps appends the text form of steps that drivers store: name, stream
// number and milliseconds of each, and a ? behind an inferred one.
func AppendSteps(b []byte, steps []StepState) []byte {
	for i, s := range steps {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, s.Name...)
		b = append(b, ' ')
		b = strconv.AppendInt(b, s.Event, 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, s.At, 10)
		if s.Inferred {
			b = append(b, '?')
		}
	}
	return b
}

// ParseSteps reads what AppendSteps wrote.
func ParseSteps(text string) ([]StepState, error) {
	if text == "" {
		return nil, nil
	}
	steps := make([]StepState, 0, strings.Count(text, ",")+1)
	for item := range strings.SplitSeq(text, ",") {
		name, rest, ok1 := strings.Cut(item, " ")
		number, at, ok2 := strings.Cut(rest, " ")
		at, inferred := strings.CutSuffix(at, "?")
		n, err1 := strconv.ParseInt(number, 10, 64)
		ms, err2 := strconv.ParseInt(at, 10, 64)
		if !ok1 || !ok2 || err1 != nil || err2 != nil {
			return nil, fmt.Errorf("read steps: malformed item %q", item)
		}
		steps = append(steps, StepState{Name: name, Event: n, At: ms, Inferred: inferred})
	}
	return steps, nil
}

// AppendProgress appends the text form of an order's progress that drivers
// store: step, count and dead of each.
func AppendProgress(b []byte, progress []StepCount) []byte {
	for i, s := range progress {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, s.Step...)
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(s.Count), 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(s.Dead), 10)
	}
	return b
}

// ParseProgress reads what AppendProgress wrote.
func ParseProgress(text string) ([]StepCount, error) {
	if text == "" {
		return nil, nil
	}
	progress := make([]StepCount, 0, strings.Count(text, ",")+1)
	for item := range strings.SplitSeq(text, ",") {
		step, rest, ok1 := strings.Cut(item, " ")
		count, dead, ok2 := strings.Cut(rest, " ")
		n, err1 := strconv.Atoi(count)
		d, err2 := strconv.Atoi(dead)
		if !ok1 || !ok2 || err1 != nil || err2 != nil {
			return nil, fmt.Errorf("read progress: malformed item %q", item)
		}
		progress = append(progress, StepCount{Step: step, Count: n, Dead: d})
	}
	return progress, nil
}

// countOf returns the place of a step in a progress, or -1.
func countOf(progress []StepCount, step string) int {
	return slices.IndexFunc(progress, func(c StepCount) bool { return c.Step == step })
}

// withPipeline returns a progress that has every step of the pipeline. One that
// it lacks came into the pipeline later: only complete pizzas are past it.
func withPipeline(p event.Pipeline, progress []StepCount, completed int) []StepCount {
	out := make([]StepCount, 0, max(len(progress), len(p.Steps())))
	out = append(out, shownProgress(p, progress, completed)...)
	for _, c := range progress {
		if p.Index(c.Step) < 0 {
			out = append(out, c)
		}
	}
	return out
}

// shownProgress returns the part of a progress that readers see: the steps of
// the pipeline, in order.
func shownProgress(p event.Pipeline, progress []StepCount, completed int) []StepCount {
	out := make([]StepCount, len(p.Steps()))
	for i, step := range p.Steps() {
		out[i] = StepCount{Step: step, Count: completed}
		if at := countOf(progress, step); at >= 0 {
			out[i] = progress[at]
		}
	}
	return out
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// withoutStepsBehind returns the body of a pizza as it was at a step: less the
// fields of all later ones.
func withoutStepsBehind(p event.Pipeline, body event.Pizza, step int) []byte {
	return bytes.Clone(body.Without(p.Steps()[step+1:]...).Body())
}
