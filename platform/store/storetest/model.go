package storetest

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/pizzamill/pizzamill/platform/store"
)

var modelTests = []test{
	{"Model/AnyOrderOfArrival", anyArrival},
}

// anyArrival delivers the facts of an order in any order, more than once, in any
// batches, some of them not at all, with dead letters between, and compares
// the ledger with what follows from the mere set of what was delivered.
func anyArrival(f *fixture) {
	outer := f.t.(*testing.T)
	defer func() { f.t = outer }()
	rapid.Check(outer, func(t *rapid.T) {
		f.t = t
		m := model{f: f, t: t, order: f.place(rapid.IntRange(1, 4).Draw(t, "count"))}
		m.count = f.order(m.order).Count
		m.draw()
		for len(m.deliveries) > 0 {
			n := rapid.IntRange(1, len(m.deliveries)).Draw(t, "batch")
			m.deliver(m.deliveries[:n])
			m.deliveries = m.deliveries[n:]
			m.check()
			if rapid.IntRange(0, 3).Draw(t, "dispatch") == 0 {
				m.dispatch()
			}
		}
		f.sound()
	})
}

// delivery is a fact or a dead letter of a pizza at a step.
type delivery struct {
	number int
	step   int
	ms     int
	letter string // its kind, "" for a fact
}

type model struct {
	f          *fixture
	t          *rapid.T
	order      string
	count      int
	deliveries []delivery
	delivered  map[int][]delivery // by pizza, without copies
}

func (m *model) draw() {
	m.delivered = map[int][]delivery{}
	for n := 1; n <= m.count; n++ {
		for step := range m.f.p.Steps() {
			d := delivery{number: n, step: step, ms: rapid.IntRange(0, 50).Draw(m.t, "ms")}
			for range rapid.IntRange(0, 3).Draw(m.t, "copies") {
				m.deliveries = append(m.deliveries, d)
			}
		}
		if rapid.IntRange(0, 2).Draw(m.t, "fails") == 0 {
			m.deliveries = append(m.deliveries, delivery{
				number: n,
				step:   rapid.IntRange(0, len(m.f.p.Steps())-1).Draw(m.t, "topic"),
				ms:     rapid.IntRange(0, 50).Draw(m.t, "ms"),
				letter: rapid.SampledFrom([]string{store.KindPoison, store.KindExhausted, store.KindPanic}).Draw(m.t, "kind"),
			})
		}
	}
	m.deliveries = rapid.Permutation(m.deliveries).Draw(m.t, "arrival")
}

func (m *model) deliver(batch []delivery) {
	var facts []store.Fact
	for _, d := range batch {
		id, step := pizza(m.order, d.number), m.f.p.Steps()[d.step]
		if d.letter == "" {
			facts = append(facts, m.f.fact(id, step, d.ms))
		} else {
			letter := m.f.letter(id, "some", step, d.letter)
			letter.FirstFailed, letter.LastFailed = at(d.ms), at(d.ms)
			m.f.bury(letter)
		}
		if !slices.Contains(m.delivered[d.number], d) {
			m.delivered[d.number] = append(m.delivered[d.number], d)
		}
	}
	m.f.advance(facts...)
}

func (m *model) dispatch() {
	chunks := m.f.lease(rapid.IntRange(1, 3).Draw(m.t, "want"))
	m.f.must(m.f.l.Dispatched(m.f.ctx(), chunks))
}

// check compares every pizza with the model, and the order with its pizzas.
func (m *model) check() {
	completed, dead := 0, 0
	for n := 1; n <= m.count; n++ {
		want, status := m.expect(n)
		p := m.f.pizza(pizza(m.order, n))
		m.f.equal(fmt.Sprintf("steps of pizza %d after %v", n, m.delivered[n]), m.f.steps(p.ID), want)
		m.f.equal("status", p.Status, status)
		switch status {
		case store.Complete:
			completed++
			m.f.equal("completed at", p.CompletedAt, p.Steps[len(p.Steps)-1].At)
		case store.DeadLettered:
			dead++
		}
		if len(want) > 0 {
			m.f.equal("body", string(p.Body), string(m.f.body(p.ID, m.f.p.Steps()[len(want)-1])))
		}
		journal, err := m.f.l.Journal(m.f.ctx(), p.ID)
		m.f.must(err)
		m.f.equal("journal", len(journal), len(want))
		for i, e := range journal {
			m.f.equal("journal body", string(e.Body), string(m.f.body(p.ID, m.f.p.Steps()[i])))
			m.f.equal("source", e.Source == "", p.Steps[i].Inferred)
		}
	}
	o := m.f.order(m.order)
	m.f.equal("counts", []int{o.Completed, o.DeadLettered}, []int{completed, dead})
	m.f.equal("newest event", int(o.LastEvent), len(m.f.stream(m.order)))
}

// expect returns the steps and the status that follow from the set of what was
// delivered of a pizza.
func (m *model) expect(number int) (steps []string, status store.Status) {
	names := m.f.p.Steps()
	own := map[int]int{}
	furthest, letterAt := -1, 0
	status = store.Cooking
	for _, d := range m.delivered[number] {
		if d.letter == "" {
			own[d.step] = d.ms
			furthest = max(furthest, d.step)
			continue
		}
		status = store.DeadLettered
		letterAt = d.ms
		if d.letter != store.KindPoison {
			furthest = max(furthest, d.step)
		}
	}
	if _, ok := own[len(names)-1]; ok {
		status = store.Complete
	}
	for i := 0; i <= furthest; i++ {
		shown, known := 0, false
		for j, ms := range own {
			if j <= i {
				shown = max(shown, ms)
			}
		}
		text := fmt.Sprintf("%s ", names[i])
		if _, ok := own[i]; !ok {
			next := -1
			for j := i + 1; j < len(names) && next < 0; j++ {
				if _, ok := own[j]; ok {
					next = j
				}
			}
			known = true
			switch {
			case next < 0:
				shown = max(shown, letterAt)
			default:
				shown = max(shown, own[next])
			}
		}
		text += fmt.Sprint(shown)
		if known {
			text += "?"
		}
		steps = append(steps, text)
	}
	return steps, status
}
