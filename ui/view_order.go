package ui

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

// Sizes of pages.
const (
	cardsMax    = 100 // pizzas of the largest order that is shown as cards
	perPage     = 48  // pizzas on a page of an order
	tapeLines   = 200
	recentMax   = 5  // orders on the ordering page
	orderRows   = 20 // orders on a page of the list
	defaultSize = 12 // what the order form begins with
)

// totals is what the head of an order's page shows.
type totals struct {
	Order store.Order
	Now   time.Time
	Rates []int // pizzas per second past each step; nil: over the whole time so far
}

// stageRow is a line of the table by stage.
type stageRow struct {
	Name               string
	Passed, Here, Dead int
	Rate               int
}

// past returns how many pizzas are past the step at i of the order's progress.
func past(o store.Order, i int) int {
	if i < len(o.Progress) {
		return o.Progress[i].Count
	}
	return 0
}

// inFlight is what is neither complete nor dead-lettered.
func inFlight(o store.Order) int { return max(0, o.Count-o.Completed-o.DeadLettered) }

// waiting is the part of what is in flight that no stage has passed.
func (t totals) waiting() int {
	dead := t.Order.DeadLettered // those that no stage has passed
	for i, p := range t.Order.Progress {
		if i > 0 {
			dead -= p.Dead
		}
	}
	return min(inFlight(t.Order), max(0, t.Order.Count-past(t.Order, 1)-dead))
}

// cooking is the part of what is in flight that a stage has passed.
func (t totals) cooking() int { return inFlight(t.Order) - t.waiting() }

// open reports whether the order still has pizzas in flight.
func (t totals) open() bool { return t.Order.Status() == store.Cooking }

func (t totals) headline() string {
	return num(t.Order.Completed) + " of " + num(t.Order.Count) + " complete"
}

// elapsed is the time from the order to its completion, or to now.
func (t totals) elapsed() time.Duration {
	if t.Order.CompletedAt.IsZero() {
		return t.Now.Sub(t.Order.CreatedAt)
	}
	return t.Order.CompletedAt.Sub(t.Order.CreatedAt)
}

// perSecond is an average over the order's time so far.
func (t totals) perSecond(n int) int {
	if s := t.elapsed().Seconds(); s > 0 {
		return int(float64(n)/s + 0.5)
	}
	return 0
}

// announcement is the sentence that screen readers are told.
func (t totals) announcement() string {
	s := num(t.Order.Completed) + " of " + pizzas(t.Order.Count) + " complete"
	if t.Order.DeadLettered > 0 {
		s += ", " + num(t.Order.DeadLettered) + " dead-lettered"
	}
	return s
}

// rows are the lines of the table by stage. What a stage has before it and has
// not passed is here now, or dead-lettered here.
func (t totals) rows() []stageRow {
	steps := t.Order.Progress
	rows := make([]stageRow, len(steps))
	before := t.Order.Count
	for i, step := range steps {
		rows[i] = stageRow{Name: step.Step, Passed: step.Count, Dead: t.deadAt(i), Rate: t.rate(i)}
		rows[i].Here = max(0, before-step.Count-rows[i].Dead)
		before = step.Count
	}
	// Under another pipeline than it was dead-lettered in, a pizza lacks a step
	// and is not there. What is there is in flight, and no more than that.
	left := inFlight(t.Order)
	for i := range slices.Backward(rows) {
		rows[i].Here = min(rows[i].Here, left)
		left -= rows[i].Here
	}
	return rows
}

// deadAt is how many pizzas failed at the step at i of the order's progress,
// having passed the one before. Where the line begins stand those that no stage
// had: the module pizza, which reads the last topic.
func (t totals) deadAt(i int) int {
	steps := t.Order.Progress
	if i > 0 {
		return steps[i-1].Dead
	}
	return steps[len(steps)-1].Dead
}

// rate is how many pizzas a second pass the step at i: of a complete order over
// all its time, of one that ended with dead letters none.
func (t totals) rate(i int) int {
	switch {
	case t.Order.Status() == store.Partial:
		return 0
	case t.Rates != nil:
		return t.Rates[i]
	default:
		return t.perSecond(past(t.Order, i))
	}
}

// bar is the parts of a progress bar, in pizzas.
type bar struct {
	Count, Complete, Cooking, Waiting, Dead int
}

func (t totals) bar() bar {
	return bar{t.Order.Count, t.Order.Completed, t.cooking(), t.waiting(), t.Order.DeadLettered}
}

// bar draws a row of the table by stage.
func (r stageRow) bar(count int) bar {
	return bar{Count: count, Complete: r.Passed, Cooking: r.Here, Dead: r.Dead}
}

// text says a bar in words.
func (b bar) text() string {
	s := num(b.Complete) + " of " + num(b.Count) + " complete"
	for _, part := range []struct {
		n    int
		word string
	}{{b.Cooking, "cooking"}, {b.Waiting, "waiting"}, {b.Dead, "dead-lettered"}} {
		if part.n > 0 {
			s += ", " + num(part.n) + " " + part.word
		}
	}
	return s
}

// piece is a rectangle of a bar.
type piece struct{ Class, X, Width string }

// sliver is the least width of a part that is not zero, in per cent: one
// failure among 100,000 must be seen.
const sliver = 1.2

// pieces lays out a bar. All four are always there, so that a live one grows
// and shrinks in place.
func (b bar) pieces() []piece {
	counts := [4]int{b.Complete, b.Cooking, b.Waiting, b.Dead}
	var widths [4]float64
	sum, widest := 0.0, 0
	for i, n := range counts {
		if n > 0 && b.Count > 0 {
			widths[i] = max(sliver, 100*float64(n)/float64(b.Count))
		}
		if sum += widths[i]; widths[i] > widths[widest] {
			widest = i
		}
	}
	if sum > 100 {
		widths[widest] -= sum - 100
	}
	out := make([]piece, 0, len(counts))
	x := 0.0
	for i, class := range [4]string{"complete", "cooking", "waiting", "dead"} {
		out = append(out, piece{class, trimFloat(x) + "%", trimFloat(widths[i]) + "%"})
		x += widths[i]
	}
	return out
}

// orderRow is an order in a list.
type orderRow struct {
	Order store.Order
	State state
	Label string
	Bar   bar
	Since string
}

func viewRow(o store.Order, now time.Time) orderRow {
	t := totals{Order: o, Now: now}
	row := orderRow{Order: o, Bar: t.bar(), Since: since(o.CreatedAt, now)}
	progress := num(o.Completed) + " of " + num(o.Count) + " complete"
	switch {
	case o.Status() == store.Complete:
		row.State, row.Label = stComplete, "complete in "+took(t.elapsed())
	case o.Status() == store.Partial:
		row.State, row.Label = stDead, progress+", "+num(o.DeadLettered)+" dead-lettered"
	case t.cooking() == 0 && o.Completed == 0:
		row.State, row.Label = stWaiting, "waiting"
	default:
		row.State, row.Label = stCooking, progress
	}
	return row
}

func viewRows(orders []store.Order, now time.Time) []orderRow {
	rows := make([]orderRow, 0, len(orders))
	for _, o := range orders {
		rows = append(rows, viewRow(o, now))
	}
	return rows
}

// shown says which pizzas of an order a page shows.
type shown struct {
	Page   int               // from 1, where all are shown
	Filter store.PizzaFilter // else those in one state
	After  int               // above this number
}

// first is the number that all pizzas on the page are above.
func (s shown) first() int {
	if s.Filter == store.AnyPizza {
		return (s.Page - 1) * perPage
	}
	return s.After
}

// hasAny reports whether one of some pizzas is on the page.
func (s shown) hasAny(numbers map[int]bool) bool {
	for n := range numbers {
		if n > s.first() && n <= s.first()+perPage {
			return true
		}
	}
	return false
}

// query is the page in a URL.
func (s shown) query() string {
	var q []string
	if s.Filter != store.AnyPizza {
		q = append(q, "state="+string(s.Filter))
		if s.After > 0 {
			q = append(q, "after="+strconv.Itoa(s.After))
		}
	} else if s.Page > 1 {
		q = append(q, "page="+strconv.Itoa(s.Page))
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + strings.Join(q, "&")
}

// word names the pizzas that a filter lets through.
func word(f store.PizzaFilter) string {
	switch f {
	case store.CompletePizzas:
		return "complete"
	case store.InFlightPizzas:
		return "in flight"
	case store.DeadLetterPizzas:
		return "dead-lettered"
	default:
		return "all"
	}
}

// choices are the filters with their counts.
func (t totals) choices() []struct {
	Filter store.PizzaFilter
	Count  int
} {
	return []struct {
		Filter store.PizzaFilter
		Count  int
	}{
		{store.AnyPizza, t.Order.Count},
		{store.CompletePizzas, t.Order.Completed},
		{store.InFlightPizzas, inFlight(t.Order)},
		{store.DeadLetterPizzas, t.Order.DeadLettered},
	}
}

func pages(count int) int { return (count + perPage - 1) / perPage }

// pageLinks are the pages to link from one of n: the first, the last, and those
// around it; 0 stands for a gap.
func pageLinks(page, n int) []int {
	want := []int{1, page - 1, page, page + 1, n}
	if page == 1 {
		want = append(want, 3)
	}
	slices.Sort(want)
	var out []int
	for _, p := range slices.Compact(want) {
		if p < 1 || p > n {
			continue
		}
		if len(out) > 0 && p > out[len(out)-1]+1 {
			out = append(out, 0)
		}
		out = append(out, p)
	}
	return out
}

// orderPage is everything on the page of an order.
type orderPage struct {
	Totals totals
	Shown  shown
	Pizzas []pizzaView
	Tape   []tapeLine // small orders only
	More   int        // the number to go on after, 0 if this page is the last; filtered ones only
	API    bool       // this listener serves the API
}

func (p orderPage) large() bool { return p.Totals.Order.Count > cardsMax }

// heading names the pizzas that the page of a large order shows.
func (p orderPage) heading() string {
	if p.Shown.Filter != store.AnyPizza {
		return capital(word(p.Shown.Filter)) + " pizzas"
	}
	first := p.Shown.first()
	return "Pizzas " + num(first+1) + " to " + num(min(first+perPage, p.Totals.Order.Count))
}

// station is a stage of the line on the ordering page.
type station struct {
	Name   string
	Layers []layer
	Passed string
	Queue  int // waiting for the stage on the right; -1 if that cannot be known
	Next   string
}

// samples are what the line's pictures have on them.
var samples = map[string]string{stageCrust: "sesame", "sauce": "tomato", "cheese": "burrata", "meat": "prosciutto", "veggies": "basil"}

// line draws the stations of a pipeline with what is past each and what waits between them.
func line(pl event.Pipeline, passed []store.StepCount, lag map[string]int64) []station {
	id := event.PizzaID{Order: "line", Number: 1}
	var on []ingredient
	stations := make([]station, 0, len(pl.Steps()))
	for i, step := range pl.Steps() {
		base := "base-raw"
		if i > 0 {
			value, known := samples[step]
			if !known {
				value = step
			}
			on = append(on, ingredient{step, value})
		}
		st := station{Name: step, Passed: "0", Queue: -1}
		if i+1 < len(pl.Steps()) {
			st.Next = pl.Steps()[i+1]
		} else {
			base = "base-baked"
		}
		st.Layers = picture(id, base, on)
		for _, c := range passed {
			if c.Step == step {
				st.Passed = num(c.Count)
			}
		}
		if n, ok := lag[st.Next]; ok {
			st.Queue = int(n)
		}
		stations = append(stations, st)
	}
	return stations
}
