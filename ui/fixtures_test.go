package ui

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

// inMemory is what the process is that all constructed pages come from.
const inMemory = "one process, gochannel and SQLite"

// noon is the moment that all constructed pages show.
var noon = time.Date(2026, 11, 22, 12, 4, 9, 502e6, time.UTC)

func at(ms int) time.Time { return noon.Add(time.Duration(ms-2400) * time.Millisecond) }

func testPipeline(t testing.TB, stages ...string) event.Pipeline {
	t.Helper()
	if len(stages) == 0 {
		stages = []string{"sauce", "cheese", "meat", "veggies"}
	}
	pl, err := event.NewPipeline(stages...)
	if err != nil {
		t.Fatal(err)
	}
	return pl
}

// bake makes a pizza as the ledger would return it. Each of on is
// "stage=value@ms"; the dispatch is 16 ms after the order.
func bake(order string, number int, status store.Status, on ...string) store.Pizza {
	id := event.PizzaID{Order: order, Number: number}
	body := event.New(id, 0)
	p := store.Pizza{ID: id, Status: status, Steps: []store.Step{{Name: event.StepPizza, At: at(16)}}}
	for i, s := range on {
		stage, value, _ := strings.Cut(s, "=")
		body = body.With(stage, value)
		p.Steps = append(p.Steps, store.Step{Name: stage, At: at(16 + 120*(i+1))})
	}
	p.Body = body.Body()
	if status == store.Complete {
		p.CompletedAt = p.Steps[len(p.Steps)-1].At
	}
	return p
}

// waitingPizza is one that no fact tells of yet.
func waitingPizza(order string, number int) store.Pizza {
	return store.Pizza{ID: event.PizzaID{Order: order, Number: number}, Status: store.Cooking}
}

func failed(p store.Pizza, module string, attempts int) store.Pizza {
	p.Status = store.DeadLettered
	p.Failure = &store.Failure{LetterID: "dl", Module: module, Error: "the ham is out", Attempts: attempts, At: at(2100)}
	return p
}

func steps(counts ...int) []store.StepCount {
	names := []string{"pizza", "sauce", "cheese", "meat", "veggies"}
	out := make([]store.StepCount, len(counts))
	for i, n := range counts {
		out[i] = store.StepCount{Step: names[i], Count: n}
	}
	return out
}

// dead says of an order at which modules its pizzas failed.
func dead(o store.Order, at map[string]int) store.Order {
	o.Progress = slices.Clone(o.Progress)
	for i := range o.Progress[1:] {
		o.Progress[i].Dead = at[o.Progress[i+1].Step]
	}
	return o
}

// journalOf is the journal of a pizza as far as it got.
func journalOf(p store.Pizza) []store.JournalEntry {
	body := event.New(p.ID, 0)
	full, err := event.Parse(p.Body, nil)
	if err != nil {
		panic(err)
	}
	var out []store.JournalEntry
	for _, s := range p.Steps {
		if value, ok := full.Field(s.Name); ok {
			body = body.With(s.Name, value)
		}
		out = append(out, store.JournalEntry{
			ID: event.ID(p.ID.String(), s.Name, 0), Topic: event.Topic(s.Name),
			At: s.At, Source: s.Name, Body: body.Body(),
		})
	}
	return out
}

// eventsOf are stream events of some pizzas, in an order that could be.
func eventsOf(list ...store.Pizza) []store.StreamEvent {
	var out []store.StreamEvent
	add := func(e store.StreamEvent) {
		e.Seq = int64(len(out) + 1)
		out = append(out, e)
	}
	for _, p := range list {
		for _, s := range p.Steps {
			if s.Name == event.StepPizza {
				add(store.StreamEvent{Kind: store.EventDispatched, Pizza: p.ID, At: s.At})
				continue
			}
			full, _ := event.Parse(p.Body, nil)
			value, _ := full.Field(s.Name)
			add(store.StreamEvent{Kind: store.EventStage, Pizza: p.ID, At: s.At, Step: s.Name, Value: value})
		}
		switch p.Status {
		case store.Complete:
			add(store.StreamEvent{Kind: store.EventComplete, Pizza: p.ID, At: p.CompletedAt, Done: &p})
		case store.DeadLettered:
			add(store.StreamEvent{Kind: store.EventDeadLetter, Pizza: p.ID, At: at(2100), Module: p.Failure.Module, Error: p.Failure.Error})
		}
	}
	return out
}

// menu is enough of it for any number of pizzas.
var menu = [4][]string{
	{"tomato", "alfredo", "pesto", "marinara", "garlic oil"},
	{"burrata", "goat cheese", "provolone"},
	{"prosciutto", "chicken", "'nduja", "salami"},
	{"basil", "black olives", "jalapeños", "red onion", "sweetcorn", "rocket", "zucchini"},
}

func anyPizza(order string, n int) store.Pizza {
	pick := func(stage int) string { return menu[stage][n%len(menu[stage])] }
	return bake(order, n, store.Complete, "sauce="+pick(0), "cheese="+pick(1), "meat="+pick(2), "veggies="+pick(3))
}

func views(pl event.Pipeline, list ...store.Pizza) []pizzaView {
	var out []pizzaView
	for _, p := range list {
		out = append(out, viewPizza(p, pl))
	}
	return out
}

// cookingDozen is an order of 12 in the middle: 7 complete, 3 cooking, 1 waiting, 1 dead-lettered.
func cookingDozen() (store.Order, []store.Pizza) {
	const id = "01kaz7q4m2x8"
	var list []store.Pizza
	for n := 1; n <= 7; n++ {
		list = append(list, anyPizza(id, n))
	}
	list = append(list,
		bake(id, 8, store.Cooking, "sauce=marinara", "cheese=mozzarella", "meat=pepperoni"),
		failed(bake(id, 9, store.DeadLettered, "sauce=arrabbiata", "cheese=parmesan"), "meat", 5),
		bake(id, 10, store.Cooking, "sauce=pumpkin cream", "cheese=goat cheese"),
		bake(id, 11, store.Cooking, "sauce=pesto"),
		waitingPizza(id, 12),
	)
	o := store.Order{
		ID: id, Count: 12, Completed: 7, DeadLettered: 1, Dispatched: 11, CreatedAt: at(0),
		Progress: steps(11, 11, 10, 8, 7), LastEvent: int64(len(eventsOf(list...))),
	}
	return dead(o, map[string]int{"meat": 1}), list
}

func completeOrder(id string, count int, after time.Duration) store.Order {
	return store.Order{
		ID: id, Count: count, Completed: count, Dispatched: count, CreatedAt: noon.Add(-after), CompletedAt: noon.Add(-after + 382*time.Millisecond),
		Progress: steps(count, count, count, count, count), LastEvent: int64(6 * count),
	}
}

func largeOrder() store.Order {
	return dead(store.Order{
		ID: "01kaz7pz9c3t", Count: 10000, Completed: 9926, DeadLettered: 40, Dispatched: 10000, CreatedAt: noon.Add(-47200 * time.Millisecond),
		Progress: steps(10000, 9999, 9929, 9927, 9926), LastEvent: 59321,
	}, map[string]int{"sauce": 1, "cheese": 38, "meat": 1})
}
