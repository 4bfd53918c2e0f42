package ui

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

// journalLine is an event of a pizza on its timeline.
type journalLine struct {
	Entry   store.JournalEntry
	Step    string
	Value   string
	Elapsed string // since the previous event
	X       string // of its bar, over the life of the pizza
	Width   string
	Slowest bool // the longest gap
	JSON    []jsonLine
	Open    bool
}

// jsonLine is a line of a body, written out.
type jsonLine struct {
	Text  string
	Added bool // the field that this event added
}

// hairline is the least width of a bar on the timeline, in per cent.
const hairline = 0.6

// viewJournal lays the events of a pizza out as one waterfall over its life.
// A replay is a life of its own.
func viewJournal(entries []store.JournalEntry) []journalLine {
	lines := make([]journalLine, 0, len(entries))
	for i, e := range entries {
		if i == 0 || e.Replay != entries[i-1].Replay {
			end := i + 1
			for end < len(entries) && entries[end].Replay == e.Replay {
				end++
			}
			lines = append(lines, viewLife(entries[i:end])...)
		}
	}
	return lines
}

func viewLife(entries []store.JournalEntry) []journalLine {
	start := entries[0].At
	total := float64(entries[len(entries)-1].At.Sub(start))
	gaps := make([]time.Duration, len(entries))
	for i := 1; i < len(entries); i++ {
		gaps[i] = entries[i].At.Sub(entries[i-1].At)
	}
	longest := slices.Max(gaps)
	lines := make([]journalLine, 0, len(entries))
	for i, e := range entries {
		l := journalLine{Entry: e, Elapsed: "+" + took(gaps[i]), Slowest: gaps[i] > 0 && gaps[i] == longest, Open: i == len(entries)-1}
		if i == 0 {
			l.Elapsed = took(0)
		}
		l.Step = strings.TrimPrefix(e.Topic, "pizza-with-")
		l.Value, l.JSON = readBody(e.Body, l.Step)
		x, width := 0.0, hairline
		if total > 0 {
			x = 100 * float64(e.At.Sub(start)-gaps[i]) / total
			width = max(hairline, 100*float64(gaps[i])/total)
		}
		l.X, l.Width = trimFloat(min(x, 100-hairline))+"%", trimFloat(width)+"%"
		lines = append(lines, l)
	}
	return lines
}

// readBody returns what a step put on the pizza, and the body line by line.
func readBody(body []byte, step string) (string, []jsonLine) {
	value := "ordered"
	if p, err := event.Parse(body, nil); err == nil && step != event.StepPizza {
		value, _ = p.Field(step)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, body, "", "  "); err != nil { // the ledger takes no such body
		return value, []jsonLine{{Text: string(body)}}
	}
	// Names at the top stand behind exactly two spaces; a string has no line break.
	added := `  "` + step + `": `
	var lines []jsonLine
	marking := false
	for text := range strings.SplitSeq(out.String(), "\n") {
		if strings.HasPrefix(text, `  "`) || strings.HasPrefix(text, "}") {
			marking = strings.HasPrefix(text, added)
		}
		lines = append(lines, jsonLine{Text: text, Added: marking})
	}
	return value, lines
}

// pizzaPage is everything on the page of a pizza.
type pizzaPage struct {
	Pizza   pizzaView
	Stages  []string // of the recipe: those it has, then those to come
	Baked   string   // how long it took, "" if not complete
	Journal []journalLine
	API     bool
}

func viewPizzaPage(p store.Pizza, journal []store.JournalEntry, pl event.Pipeline) pizzaPage {
	page := pizzaPage{Pizza: viewPizza(p, pl), Journal: viewJournal(journal)}
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

func events(n int) string {
	if n == 1 {
		return "1 event"
	}
	return num(n) + " events"
}
