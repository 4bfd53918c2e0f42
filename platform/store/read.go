package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/pizzamill/pizzamill/platform/event"
)

// orderView is an order as readers see it.
func (l *Ledger) orderView(row *OrderRow) Order {
	o := Order{
		ID:           row.ID,
		Count:        row.Count,
		Completed:    row.Completed,
		DeadLettered: row.DeadLettered,
		Dispatched:   row.Dispatched,
		CreatedAt:    fromMillis(row.CreatedAt),
		Progress:     shownProgress(l.pipeline, row.Progress, row.Completed),
		LastEvent:    row.LastEvent,
	}
	if row.Completed == row.Count {
		o.CompletedAt = fromMillis(row.CompletedAt)
	}
	return o
}

// Order returns an order.
func (l *Ledger) Order(ctx context.Context, id string) (o Order, err error) {
	err = l.driver.View(ctx, func(tx ReadTx) error {
		row, err := orderRow(tx, id)
		if err != nil {
			return err
		}
		o = l.orderView(&row)
		return nil
	})
	return o, err
}

func orderRow(tx ReadTx, id string) (OrderRow, error) {
	rows, err := tx.Orders([]string{id})
	if err != nil {
		return OrderRow{}, fmt.Errorf("load order %s: %w", id, err)
	}
	if len(rows) == 0 {
		return OrderRow{}, fmt.Errorf("order %s: %w", id, ErrNotFound)
	}
	return rows[0], nil
}

// Orders returns up to limit orders, newest first, those older than before ("": from the newest).
func (l *Ledger) Orders(ctx context.Context, limit int, before string) (orders []Order, err error) {
	err = l.driver.View(ctx, func(tx ReadTx) error {
		rows, err := tx.OrdersBefore(before, max(limit, 0))
		if err != nil {
			return fmt.Errorf("load orders: %w", err)
		}
		for i := range rows {
			orders = append(orders, l.orderView(&rows[i]))
		}
		return nil
	})
	return orders, err
}

// Pizzas returns up to limit pizzas of an order numbered above after, ascending.
func (l *Ledger) Pizzas(ctx context.Context, order string, after, limit int, f PizzaFilter) ([]Pizza, error) {
	_, pizzas, err := l.OrderWithPizzas(ctx, order, after, limit, f)
	return pizzas, err
}

// OrderWithPizzas is Order and Pizzas at one moment, so that the counts of the
// order are those of its pizzas.
func (l *Ledger) OrderWithPizzas(ctx context.Context, id string, after, limit int, f PizzaFilter) (o Order, pizzas []Pizza, err error) {
	err = l.driver.View(ctx, func(tx ReadTx) error {
		row, err := orderRow(tx, id)
		if err != nil {
			return err
		}
		o = l.orderView(&row)
		rows, err := pizzaRows(tx, &row, max(after, 0), max(limit, 0), f)
		if err != nil {
			return fmt.Errorf("load pizzas of order %s: %w", id, err)
		}
		pizzas, err = l.pizzaViews(tx, id, rows)
		return err
	})
	return o, pizzas, err
}

// pizzaRows returns the rows that a filter selects, those without a fact included.
func pizzaRows(tx ReadTx, o *OrderRow, after, limit int, f PizzaFilter) ([]PizzaRow, error) {
	switch f {
	case CompletePizzas:
		return tx.PizzasAfter(o.Seq, after, limit, Complete)
	case DeadLetterPizzas:
		return tx.PizzasAfter(o.Seq, after, limit, DeadLettered)
	case AnyPizza:
		stored, err := tx.PizzasAfter(o.Seq, after, limit, "")
		if err != nil {
			return nil, err
		}
		var numbers []int
		for n := after + 1; n <= o.Count && len(numbers) < limit; n++ {
			numbers = append(numbers, n)
		}
		return withBlanks(o, numbers, stored), nil
	case InFlightPizzas:
		numbers, err := inFlight(tx, o, after, limit)
		if err != nil {
			return nil, err
		}
		keys := make([]PizzaKey, len(numbers))
		for i, n := range numbers {
			keys[i] = PizzaKey{Order: o.Seq, Number: n}
		}
		stored, err := tx.Pizzas(keys)
		if err != nil {
			return nil, err
		}
		return withBlanks(o, numbers, stored), nil
	default:
		return nil, fmt.Errorf("unknown filter %q", f)
	}
}

// withBlanks returns a row for each number: the stored one, or that of a pizza
// without a fact.
func withBlanks(o *OrderRow, numbers []int, stored []PizzaRow) []PizzaRow {
	byNumber := make(map[int]PizzaRow, len(stored))
	for _, row := range stored {
		byNumber[row.Number] = row
	}
	rows := make([]PizzaRow, len(numbers))
	for i, n := range numbers {
		row, ok := byNumber[n]
		if !ok {
			row = PizzaRow{PizzaKey: PizzaKey{Order: o.Seq, Number: n}, Status: Cooking}
		}
		rows[i] = row
	}
	return rows
}

// inFlight returns the numbers above after of pizzas that are not done: the
// gaps between those that are. Blocks without a gap, which most of a big order
// is sooner or later, are only counted.
func inFlight(tx ReadTx, o *OrderRow, after, limit int) ([]int, error) {
	const block = 1024
	var numbers []int
	for from := after; from < o.Count && len(numbers) < limit; from += block {
		last := min(from+block, o.Count)
		n, err := tx.CountDone(o.Seq, from, last)
		if err != nil {
			return nil, err
		}
		if n == last-from {
			continue
		}
		done, err := tx.Done(o.Seq, from, last)
		if err != nil {
			return nil, err
		}
		for n := from + 1; n <= last && len(numbers) < limit; n++ {
			if _, ok := slices.BinarySearch(done, n); !ok {
				numbers = append(numbers, n)
			}
		}
	}
	return numbers, nil
}

// pizzaViews returns pizzas as readers see them.
func (l *Ledger) pizzaViews(tx ReadTx, order string, rows []PizzaRow) ([]Pizza, error) {
	var keys []FactKey
	for _, row := range rows {
		if row.BodyEvent > 0 {
			keys = append(keys, FactKey{Order: row.Order, Event: row.BodyEvent})
		}
	}
	bodies := map[int64][]byte{}
	facts, err := tx.Facts(keys)
	if err != nil {
		return nil, fmt.Errorf("load bodies of order %s: %w", order, err)
	}
	for _, f := range facts {
		bodies[f.Event] = f.Body
	}
	pizzas := make([]Pizza, 0, len(rows))
	for i := range rows {
		p := l.pizzaView(order, &rows[i], bodies[rows[i].BodyEvent])
		if p.Failure, err = failure(tx, &rows[i]); err != nil {
			return nil, err
		}
		pizzas = append(pizzas, p)
	}
	return pizzas, nil
}

func (l *Ledger) pizzaView(order string, row *PizzaRow, body []byte) Pizza {
	p := Pizza{
		ID:          event.PizzaID{Order: order, Number: row.Number},
		Status:      row.Status,
		Body:        body,
		CompletedAt: fromMillis(row.CompletedAt),
	}
	for _, s := range arrange(l.pipeline, row.Steps) {
		p.Steps = append(p.Steps, Step{Name: s.Name, At: fromMillis(s.shown), Inferred: s.Inferred})
	}
	return p
}

func failure(tx ReadTx, row *PizzaRow) (*Failure, error) {
	if row.Status != DeadLettered {
		return nil, nil
	}
	d, ok, err := tx.Letter(row.Letter)
	if err != nil {
		return nil, fmt.Errorf("load dead letter %s: %w", row.Letter, err)
	}
	if !ok {
		return &Failure{LetterID: row.Letter}, nil
	}
	return &Failure{LetterID: d.ID, Module: d.Module, Error: d.Error, Attempts: d.Attempts, At: d.LastFailed}, nil
}

// pizzaRow returns a pizza's row, that of one without a fact included.
func pizzaRow(tx ReadTx, id event.PizzaID) (PizzaRow, error) {
	o, err := orderRow(tx, id.Order)
	if err != nil {
		return PizzaRow{}, err
	}
	if id.Number < 1 || id.Number > o.Count {
		return PizzaRow{}, fmt.Errorf("pizza %s: %w", id, ErrNotFound)
	}
	key := PizzaKey{Order: o.Seq, Number: id.Number}
	rows, err := tx.Pizzas([]PizzaKey{key})
	if err != nil {
		return PizzaRow{}, fmt.Errorf("load pizza %s: %w", id, err)
	}
	return withBlanks(&o, []int{id.Number}, rows)[0], nil
}

// Pizza returns one pizza.
func (l *Ledger) Pizza(ctx context.Context, id event.PizzaID) (p Pizza, err error) {
	err = l.driver.View(ctx, func(tx ReadTx) error {
		p, err = l.pizza(tx, id)
		return err
	})
	return p, err
}

func (l *Ledger) pizza(tx ReadTx, id event.PizzaID) (Pizza, error) {
	row, err := pizzaRow(tx, id)
	if err != nil {
		return Pizza{}, err
	}
	pizzas, err := l.pizzaViews(tx, id.Order, []PizzaRow{row})
	if err != nil {
		return Pizza{}, err
	}
	return pizzas[0], nil
}

// Journal returns the events of a pizza in pipeline order, none before the
// first fact. Those of steps that left the pipeline stand where they came in.
func (l *Ledger) Journal(ctx context.Context, id event.PizzaID) (entries []JournalEntry, err error) {
	err = l.driver.View(ctx, func(tx ReadTx) error {
		row, err := pizzaRow(tx, id)
		if err != nil {
			return err
		}
		steps := arrange(l.pipeline, row.Steps)
		keys := make([]FactKey, len(steps))
		for i, s := range steps {
			keys[i] = FactKey{Order: row.Order, Event: s.Event}
		}
		facts, err := tx.Facts(keys)
		if err != nil {
			return fmt.Errorf("load journal of pizza %s: %w", id, err)
		}
		for _, s := range steps {
			i := slices.IndexFunc(facts, func(f FactRow) bool { return f.Event == s.Event })
			if i < 0 {
				return fmt.Errorf("journal of pizza %s: event %d is missing", id, s.Event)
			}
			entries = append(entries, JournalEntry{
				ID:       event.ID(id.String(), s.Name, 0),
				Topic:    event.Topic(s.Name),
				At:       fromMillis(s.shown),
				Source:   facts[i].Source,
				Inferred: s.Inferred,
				Body:     facts[i].Body,
			})
		}
		return nil
	})
	return entries, err
}

// LastComplete returns the pizza that was completed last; false if there is none.
func (l *Ledger) LastComplete(ctx context.Context) (p Pizza, ok bool, err error) {
	err = l.driver.View(ctx, func(tx ReadTx) error {
		text, err := tx.Meta(metaLastComplete)
		if err != nil || text == "" {
			return err
		}
		id, err := event.ParsePizzaID(text)
		if err != nil {
			return fmt.Errorf("last complete pizza %q: %w", text, err)
		}
		ok = true
		p, err = l.pizza(tx, id)
		return err
	})
	return p, ok && err == nil, err
}

// Totals returns the counts over all orders.
func (l *Ledger) Totals(ctx context.Context) (t Totals, err error) {
	err = l.driver.View(ctx, func(tx ReadTx) error {
		stored, err := tx.Totals()
		if err != nil {
			return fmt.Errorf("load totals: %w", err)
		}
		oldest, err := tx.OldestOpen()
		if err != nil {
			return fmt.Errorf("look up the oldest open order: %w", err)
		}
		t = Totals{
			Ordered:        stored[totalOrdered],
			Completed:      stored[totalCompleted],
			DeadLettered:   stored[totalDeadLettered],
			Undispatched:   stored[totalUndispatched],
			OldestInFlight: fromMillis(oldest),
		}
		for _, step := range l.pipeline.Steps() {
			t.Passed = append(t.Passed, StepCount{Step: step, Count: int(t.Completed + stored[totalUnfinished+step])})
		}
		return nil
	})
	return t, err
}

// DeadLetters returns up to limit letters in the order of their first failure, those behind after ("": from the first).
// The bodies are left out.
func (l *Ledger) DeadLetters(ctx context.Context, f LetterFilter, limit int, after string) (letters []DeadLetter, err error) {
	err = l.driver.View(ctx, func(tx ReadTx) error {
		letters, err = tx.LettersAfter(f, after, max(limit, 0))
		if err != nil {
			return fmt.Errorf("load dead letters: %w", err)
		}
		return nil
	})
	return letters, err
}

// DeadLetter returns one letter with its body.
func (l *Ledger) DeadLetter(ctx context.Context, id string) (d DeadLetter, err error) {
	err = l.driver.View(ctx, func(tx ReadTx) error {
		var ok bool
		d, ok, err = tx.Letter(id)
		switch {
		case err != nil:
			return fmt.Errorf("load dead letter %s: %w", id, err)
		case !ok:
			return fmt.Errorf("dead letter %s: %w", id, ErrNotFound)
		}
		return nil
	})
	return d, err
}
