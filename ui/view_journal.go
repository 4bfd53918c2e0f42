package ui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

// journalLine is an event of a pizza on its timeline.
type journalLine struct {
	gap
	Entry store.JournalEntry
	Step  string
	Value string
	JSON  []jsonLine
	Open  bool
}

// burntLine is the end of a dead-lettered pizza's timeline: what no event tells.
type burntLine struct {
	gap
	At      time.Time
	Failure store.Failure
}

// gap is the time since the previous event, and its bar over the life of the pizza.
type gap struct {
	Elapsed string
	X       string
	Width   string
	Slowest bool // the longest one
}

// jsonLine is a line of a body, written out.
type jsonLine struct {
	Text  string
	Added bool // the field that this event added
}

// hairline is the least width of a bar on the timeline, in per cent.
const hairline = 0.6

// viewJournal lays the events of a pizza out as one waterfall over its life. A
// replay is a life of its own; the last one ends with the failure, if there is one.
func viewJournal(entries []store.JournalEntry, f *store.Failure) (lines []journalLine, burnt *burntLine) {
	if f != nil && !f.At.IsZero() { // a letter that is gone leaves no time
		burnt = &burntLine{At: f.At, Failure: *f}
	}
	for len(entries) > 0 {
		n := 1
		for n < len(entries) && entries[n].Replay == entries[0].Replay {
			n++
		}
		life := viewLife(entries[:n])
		if entries = entries[n:]; len(entries) == 0 {
			burnt.end(life)
		}
		lines = append(lines, life...)
	}
	if len(lines) == 0 && burnt != nil {
		burnt.gap = waterfall([]time.Time{burnt.At})[0]
	}
	return lines, burnt
}

// viewLife shows the events of one making of a pizza.
func viewLife(entries []store.JournalEntry) []journalLine {
	lines := make([]journalLine, 0, len(entries))
	times := make([]time.Time, 0, len(entries))
	for i, e := range entries {
		l := journalLine{Entry: e, Step: strings.TrimPrefix(e.Topic, "pizza-with-"), Open: i == len(entries)-1}
		l.Value, l.JSON = readBody(e.Body, l.Step)
		lines = append(lines, l)
		times = append(times, e.At)
	}
	for i, g := range waterfall(times) {
		lines[i].gap = g
	}
	return lines
}

// end makes the failure the end of a life, whose bars are then over the time to it.
func (b *burntLine) end(life []journalLine) {
	if b == nil {
		return
	}
	times := make([]time.Time, 0, len(life)+1)
	for _, l := range life {
		times = append(times, l.Entry.At)
	}
	if last := times[len(times)-1]; b.At.Before(last) { // by another clock
		b.At = last
	}
	gaps := waterfall(append(times, b.At))
	for i := range life {
		life[i].gap = gaps[i]
	}
	b.gap = gaps[len(life)]
}

// waterfall returns the gaps before some times, the first of which has none.
func waterfall(times []time.Time) []gap {
	start := times[0]
	total := float64(times[len(times)-1].Sub(start))
	waits := make([]time.Duration, 0, len(times))
	before := start
	for _, t := range times {
		waits = append(waits, t.Sub(before))
		before = t
	}
	longest := slices.Max(waits)
	gaps := make([]gap, len(times))
	passed := time.Duration(0)
	for i, d := range waits {
		x, width := 0.0, hairline
		if total > 0 {
			x = 100 * float64(passed) / total
			width = max(hairline, 100*float64(d)/total)
		}
		passed += d
		gaps[i] = gap{Elapsed: "+" + took(d), X: trimFloat(min(x, 100-hairline)) + "%", Width: trimFloat(width) + "%", Slowest: d > 0 && d == longest}
	}
	gaps[0].Elapsed = took(0)
	return gaps
}

// readBody returns what a step put on the pizza, and the body line by line.
func readBody(body []byte, step string) (string, []jsonLine) {
	value := "ordered"
	if p, err := event.Parse(body, nil); err == nil && step != event.StepPizza {
		value, _ = p.Field(step)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, body, "", "  "); err != nil { // the ledger takes no such body
		return value, []jsonLine{{Text: escapeDirections(string(body))}}
	}
	// Names at the top stand behind exactly two spaces; a string has no line break.
	added := `  "` + step + `": `
	var lines []jsonLine
	marking := false
	for text := range strings.SplitSeq(escapeDirections(out.String()), "\n") {
		if strings.HasPrefix(text, `  "`) || strings.HasPrefix(text, "}") {
			marking = strings.HasPrefix(text, added)
		}
		lines = append(lines, jsonLine{Text: text, Added: marking})
	}
	return value, lines
}

// escapeDirections writes controls of text direction as JSON's escapes, so that
// the text stands as it is in the event. In JSON they can only be in strings.
func escapeDirections(text string) string {
	if !strings.ContainsFunc(text, directs) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if directs(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// pizzaPage is everything on the page of a pizza.
type pizzaPage struct {
	Pizza   pizzaView
	Stages  []string // of the recipe: those it has, then those to come
	Baked   string   // how long it took, "" if not complete
	Journal []journalLine
	Burnt   *burntLine // nil unless it is dead-lettered
	API     bool
}

func viewPizzaPage(p store.Pizza, journal []store.JournalEntry, pl event.Pipeline) pizzaPage {
	page := pizzaPage{Pizza: viewPizza(p, pl)}
	page.Journal, page.Burnt = viewJournal(journal, p.Failure)
	if d, ok := baked(p); ok {
		page.Baked = took(d)
	}
	for _, s := range page.Pizza.Steps {
		if s.Name != event.StepPizza {
			page.Stages = append(page.Stages, s.Name)
		}
	}
	return page
}

// on returns what a stage has put on the pizza, or "".
func (v pizzaView) on(stage string) string {
	for _, in := range v.On {
		if in.Stage == stage {
			return in.Value
		}
	}
	return ""
}

// origin says whose event it is. A foreign stage need not say so.
func origin(e store.JournalEntry) phrase {
	switch {
	case e.Inferred:
		return ours("inferred from a later event")
	case e.Source == "":
		return ours("no source given")
	default:
		return append(ours("from "), theirs(e.Source)...)
	}
}

func events(n int) string {
	if n == 1 {
		return "1 event"
	}
	return num(n) + " events"
}
