package store

import (
	"cmp"
	"fmt"
	"slices"
)

// unit is the unit of work of one commit: what its ops read is loaded once, ops
// change it in memory, and what changed is written once at the end, in bulk.
// However many facts of a pizza meet in a commit, its row is read and written
// once.
type unit struct {
	l  *Ledger
	tx Tx

	orders  map[string]*order // nil if there is no such order
	pizzas  map[PizzaKey]*pizza
	letters map[string]*DeadLetter // nil if there is no such letter
	keys    map[string]*KeyRow     // nil if there is no such key

	placed       []*OrderRow
	newFacts     []*FactRow
	filledFacts  []*FactRow
	dirtyLetters []string
	newKeys      []*KeyRow
	forgetKeys   int64
	meta         map[string]string
	processes    map[string]*ProcessRow // nil if it is gone
	buses        map[string]*BusRow
	ready        []string // orders that could be leased when the commit began, by turn
	lastTurn     int64    // 0 until asked for
	bakedIn      []int64  // milliseconds from order to completion, of what was completed
	started      bool     // what waits for dispatch is to be looked at anew
	wrote        bool
}

// order is an order in a unit of work.
type order struct {
	OrderRow
	was     OrderRow // as it was loaded, in the pipeline of today
	dirty   bool
	visible bool // readers see a difference
}

// pizza is a pizza in a unit of work.
type pizza struct {
	PizzaRow
	order    *order
	wasDone  bool
	wasBaked bool   // complete already when it was loaded
	wasDead  string // deadAt when it was loaded
	dirty    bool
	facts    []*FactRow // beside Steps: the row if it was made in this unit, else nil
}

func (p *pizza) done() bool { return p.Status != Cooking }

// deadAt is the step that a dead-lettered pizza reached last, "" if there is none.
func (p *pizza) deadAt() string {
	if p.Status != DeadLettered || len(p.Steps) == 0 {
		return ""
	}
	return p.Steps[len(p.Steps)-1].Name
}

// needs is what the ops of a commit will read.
type needs struct {
	bus    busLock
	ready  int // how many orders to lease, if there are any
	orders map[string]struct{}
	pizzas map[pizzaName]struct{}
}

// busLock is what a commit has to do with the bus that the ledger is on.
type busLock int

const (
	anyBus    busLock = iota // nothing
	stayOnBus                // it must not change meanwhile
	decideBus                // it may change
)

// pizzaName is a pizza whose order is not loaded yet.
type pizzaName struct {
	order  string
	number int
}

func (n *needs) order(id string) { n.orders[id] = struct{}{} }

func (n *needs) pizza(order string, number int) {
	n.order(order)
	n.pizzas[pizzaName{order, number}] = struct{}{}
}

func newUnit(l *Ledger) *unit {
	return &unit{
		l:       l,
		orders:  map[string]*order{},
		pizzas:  map[PizzaKey]*pizza{},
		letters: map[string]*DeadLetter{},
		keys:    map[string]*KeyRow{},
		meta:    map[string]string{},

		processes: map[string]*ProcessRow{},
		buses:     map[string]*BusRow{},
	}
}

// load reads what the ops need. The bus is locked first, then orders in the
// order of their IDs: everywhere, so that no two processes wait for each other.
func (u *unit) load(ops []*op) error {
	n := needs{orders: map[string]struct{}{}, pizzas: map[pizzaName]struct{}{}}
	for _, o := range ops {
		if o.need != nil {
			o.need(&n)
		}
	}
	if err := u.lockBus(n.bus); err != nil {
		return err
	}
	if err := u.lookForWork(n.ready); err != nil {
		return err
	}
	for _, id := range u.ready {
		n.order(id)
	}
	if err := u.loadOrders(n.orders); err != nil {
		return err
	}
	return u.loadPizzas(n.pizzas)
}

func (u *unit) lockBus(l busLock) (err error) {
	switch l {
	case stayOnBus:
		err = u.tx.ShareBus()
	case decideBus:
		err = u.tx.LockBus()
	}
	if err != nil {
		return fmt.Errorf("lock the ledger's bus: %w", err)
	}
	return nil
}

func (u *unit) loadOrders(want map[string]struct{}) error {
	ids := make([]string, 0, len(want))
	for id := range want {
		if _, ok := u.orders[id]; !ok {
			ids = append(ids, id)
			u.orders[id] = nil
		}
	}
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	rows, err := u.tx.Orders(ids)
	if err != nil {
		return fmt.Errorf("load orders: %w", err)
	}
	for i := range rows {
		u.adopt(&rows[i])
	}
	return nil
}

// adopt takes an order into the unit, or returns the one that is there already.
func (u *unit) adopt(row *OrderRow) *order {
	if o := u.orders[row.ID]; o != nil {
		return o
	}
	o := &order{OrderRow: *row}
	o.Progress = withPipeline(u.l.pipeline, row.Progress, row.Completed)
	o.was = o.OrderRow
	o.was.Progress = slices.Clone(o.Progress)
	u.orders[row.ID] = o
	return o
}

func (u *unit) loadPizzas(want map[pizzaName]struct{}) error {
	keys := make([]PizzaKey, 0, len(want))
	for name := range want {
		o := u.orders[name.order]
		if o == nil || name.number < 1 || name.number > o.Count {
			continue
		}
		key := PizzaKey{Order: o.Seq, Number: name.number}
		if _, ok := u.pizzas[key]; ok {
			continue
		}
		u.pizzas[key] = &pizza{PizzaRow: PizzaRow{PizzaKey: key, Status: Cooking}, order: o}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil
	}
	slices.SortFunc(keys, func(a, b PizzaKey) int {
		return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Number, b.Number))
	})
	rows, err := u.tx.Pizzas(keys)
	if err != nil {
		return fmt.Errorf("load pizzas: %w", err)
	}
	for _, row := range rows {
		p := u.pizzas[row.PizzaKey]
		p.PizzaRow = row
		p.wasDone, p.wasBaked, p.wasDead = p.done(), p.Status == Complete, p.deadAt()
		p.facts = make([]*FactRow, len(row.Steps), len(row.Steps)+4)
	}
	return nil
}

// pizza returns a loaded pizza, or nil if nobody ordered it.
func (u *unit) pizza(orderID string, number int) *pizza {
	o := u.orders[orderID]
	if o == nil {
		return nil
	}
	return u.pizzas[PizzaKey{Order: o.Seq, Number: number}]
}

// draw draws the order's next stream number for an event of a pizza.
func (u *unit) draw(p *pizza, f FactRow) *FactRow {
	p.order.LastEvent++
	p.order.dirty, p.order.visible = true, true
	p.dirty = true
	f.FactKey = FactKey{Order: p.order.Seq, Event: p.order.LastEvent}
	f.Number = p.Number
	u.newFacts = append(u.newFacts, &f)
	return &f
}

// flush writes what changed.
func (u *unit) flush() error {
	var c Changes
	for _, p := range u.pizzas {
		if p.dirty {
			u.settle(p)
			c.Pizzas = append(c.Pizzas, &p.PizzaRow)
		}
	}
	slices.SortFunc(c.Pizzas, func(a, b *PizzaRow) int {
		return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Number, b.Number))
	})
	slices.SortFunc(u.newFacts, func(a, b *FactRow) int {
		return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Event, b.Event))
	})
	for _, o := range u.orders {
		if o != nil && o.dirty {
			c.Orders = append(c.Orders, &o.OrderRow)
		}
	}
	slices.SortFunc(c.Orders, func(a, b *OrderRow) int { return cmp.Compare(a.ID, b.ID) })
	for _, id := range u.dirtyLetters {
		c.Letters = append(c.Letters, u.letters[id])
	}
	c.NewOrders, c.NewFacts, c.FilledFacts, c.NewKeys = u.placed, u.newFacts, u.filledFacts, u.newKeys
	c.ForgetKeys, c.Meta = u.forgetKeys, u.meta
	u.flushProcesses(&c)
	if u.nothing(&c) {
		return nil
	}
	u.wrote = true
	c.Totals = u.totals()
	if err := u.tx.Write(&c); err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	return nil
}

func (u *unit) nothing(c *Changes) bool {
	return len(c.NewOrders)+len(c.Orders)+len(c.Pizzas)+len(c.Letters)+len(c.Meta)+
		len(c.Processes)+len(c.GoneProcess)+len(c.Buses) == 0
}

// countDead moves the order's count of dead-lettered pizzas by step.
func (o *order) countDead(was, now string) {
	if was == now {
		return
	}
	if i := countOf(o.Progress, was); i >= 0 {
		o.Progress[i].Dead--
	}
	if i := countOf(o.Progress, now); i >= 0 {
		o.Progress[i].Dead++
	}
	o.dirty = true
}

// settle brings what follows from a pizza's steps up to date.
func (u *unit) settle(p *pizza) {
	p.order.countDead(p.wasDead, p.deadAt())
	steps := arrange(u.l.pipeline, p.Steps)
	if len(steps) == 0 {
		return
	}
	last := steps[len(steps)-1]
	if p.Status != Complete {
		p.BodyEvent = last.Event
		return
	}
	p.CompletedAt = max(p.CompletedAt, last.shown)
	if !p.wasBaked {
		u.bakedIn = append(u.bakedIn, p.CompletedAt-p.order.CreatedAt)
	}
	if p.order.CompletedAt < p.CompletedAt {
		p.order.CompletedAt = p.CompletedAt
		p.order.dirty = true
	}
}

// totals are by how much the orders of this commit move the totals, which
// therefore cannot drift from them. Several processes move them, perhaps with
// different pipelines, so no total may depend on which steps a writer knows:
// complete pizzas, which are past every step, are left out of those of steps.
func (u *unit) totals() map[string]int64 {
	t := map[string]int64{}
	add := func(name string, n int) {
		if n != 0 {
			t[name] += int64(n)
		}
	}
	for _, o := range u.placed {
		add(totalOrdered, o.Count)
		add(totalUndispatched, o.Undispatched())
	}
	for _, o := range u.orders {
		if o == nil || !o.dirty {
			continue
		}
		add(totalCompleted, o.Completed-o.was.Completed)
		add(totalDeadLettered, o.DeadLettered-o.was.DeadLettered)
		add(totalUndispatched, o.Undispatched()-o.was.Undispatched())
		for i := range o.Progress {
			add(totalUnfinished+o.Progress[i].Step, o.unfinishedPast(i)-o.was.unfinishedPast(i))
		}
	}
	return t
}

// unfinishedPast is how many pizzas that are not complete are past a step of
// the progress. A step that an order has not met has none.
func (o *OrderRow) unfinishedPast(step int) int { return o.Progress[step].Count - o.Completed }

// Names of totals in the database.
const (
	totalOrdered      = "ordered"
	totalCompleted    = "completed"
	totalDeadLettered = "dead_lettered"
	totalUndispatched = "undispatched"
	totalUnfinished   = "unfinished:" // and the step: pizzas past it that are not complete
)
