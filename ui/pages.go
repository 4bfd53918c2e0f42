package ui

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/httpserver"
	"github.com/pizzamill/pizzamill/platform/store"
)

func (s *site) home(w http.ResponseWriter, r *http.Request) {
	count := strconv.Itoa(min(defaultSize, s.max))
	if n, wrong := parseCount(r.URL.Query().Get("count"), s.max); wrong == "" {
		count = strconv.Itoa(n)
	}
	s.showForm(w, r, http.StatusOK, "Order", homePage{Form: orderForm{Count: count, Max: s.max, Key: newKey()}})
}

// kitchen reads the live part of the ordering page.
func (s *site) kitchen(ctx context.Context) (kitchen, error) {
	t, err := s.ledger.Totals(ctx)
	if err != nil {
		return kitchen{}, err
	}
	orders, err := s.ledger.Orders(ctx, recentMax, "")
	if err != nil {
		return kitchen{}, err
	}
	last, ok, err := s.ledger.LastComplete(ctx)
	if err != nil {
		return kitchen{}, err
	}
	k := kitchen{Totals: t, Recent: viewRows(orders, s.now()), Stations: line(s.pipeline, t.Passed, s.queues(ctx))}
	if ok {
		v := viewPizza(last, s.pipeline)
		k.Last = &v
		if d, known := baked(last); known {
			k.LastTook = "in " + took(d)
		}
	}
	return k, nil
}

// queues returns how many pizzas wait for each stage; nil while the bus cannot say.
func (s *site) queues(ctx context.Context) map[string]int64 {
	lags, err := s.lag(ctx)
	if err != nil {
		return nil // readiness tells of the bus; the page shows the rest
	}
	waiting := make(map[string]int64, len(lags))
	for _, l := range lags {
		if input, ok := s.pipeline.Input(l.Group); ok && input == l.Topic {
			waiting[l.Group] = l.Messages
		}
	}
	return waiting
}

func (s *site) orders(w http.ResponseWriter, r *http.Request) {
	before := r.URL.Query().Get("before")
	if before != "" && !store.IsOrderID(before) {
		s.failNotFound(w, r, "order", before)
		return
	}
	p, err := s.list(r.Context(), before)
	if err != nil {
		s.failLedger(w, r, err, "order", before)
		return
	}
	c := s.chrome(r, "All orders", "/orders")
	c.Entry = true
	if before == "" {
		c.Live = "/orders/live"
	}
	s.render(w, r, http.StatusOK, listView(c, p))
}

// list reads a page of the list of orders.
func (s *site) list(ctx context.Context, before string) (listPage, error) {
	orders, err := s.ledger.Orders(ctx, orderRows+1, before)
	if err != nil {
		return listPage{}, err
	}
	p := listPage{First: before == ""}
	if len(orders) > orderRows {
		orders = orders[:orderRows]
		p.Next = orders[orderRows-1].ID
	}
	p.Rows = viewRows(orders, s.now())
	return p, nil
}

// findOrder reads the order that a path names, or answers that it cannot.
func (s *site) findOrder(w http.ResponseWriter, r *http.Request) (store.Order, bool) {
	id := r.PathValue("id")
	if !event.ValidOrderID(id) {
		s.failNotFound(w, r, "order", id)
		return store.Order{}, false
	}
	o, err := s.ledger.Order(r.Context(), id)
	if err != nil {
		s.failLedger(w, r, err, "order", id)
		return store.Order{}, false
	}
	return o, true
}

func (s *site) order(w http.ResponseWriter, r *http.Request) {
	o, ok := s.findOrder(w, r)
	if !ok {
		return
	}
	id := o.ID
	on, ok := shownOf(r, o)
	if !ok {
		s.fail(w, r, httpserver.NewProblem(http.StatusNotFound, ""))
		return
	}
	p, err := s.orderPage(r.Context(), o, on)
	if err != nil {
		s.failLedger(w, r, err, "order", id)
		return
	}
	c := s.chrome(r, p.Totals.headline()+", order "+id, "/orders")
	c.Last = o.LastEvent
	inferred := slices.ContainsFunc(p.Pizzas, func(v pizzaView) bool { return v.Inferred })
	if !s.settled(o.CompletedAt, inferred) || c.Line.Title != "" {
		c.Live = "/orders/" + id + "/live" + on.query()
	}
	s.render(w, r, http.StatusOK, orderView(c, p))
}

// shownOf reads from a URL which pizzas of an order to show; false if there is
// no such page.
func shownOf(r *http.Request, o store.Order) (shown, bool) {
	on := shown{Page: 1, Filter: store.PizzaFilter(r.URL.Query().Get("state"))}
	switch on.Filter {
	case store.AnyPizza:
	case store.CompletePizzas, store.InFlightPizzas, store.DeadLetterPizzas:
		if o.Count <= cardsMax {
			return on, false
		}
	default:
		return on, false
	}
	var ok1, ok2 bool
	on.Page, ok1 = number(r.URL.Query().Get("page"), 1, pages(o.Count))
	on.After, ok2 = number(r.URL.Query().Get("after"), 0, o.Count)
	return on, ok1 && ok2
}

// number reads a whole number between two bounds; the lower one stands for "".
func number(s string, from, to int) (int, bool) {
	if s == "" {
		return from, true
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= from && n <= to
}

// orderPage reads what the page of an order shows. The tape ends at the last
// event of o, where the page's stream goes on; the pizzas may be ahead of it.
func (s *site) orderPage(ctx context.Context, o store.Order, on shown) (orderPage, error) {
	p := orderPage{Totals: totals{Order: o, Now: s.now()}, Shown: on, API: !s.admin}
	var err error
	if p.Pizzas, p.More, err = s.shownPizzas(ctx, o.ID, on); err != nil {
		return p, err
	}
	if p.large() {
		return p, nil
	}
	events, err := s.ledger.Events(ctx, o.ID, max(0, o.LastEvent-tapeLines), tapeLines)
	if err != nil {
		return p, err
	}
	for len(events) > 0 && events[len(events)-1].Seq > o.LastEvent {
		events = events[:len(events)-1]
	}
	p.Tape = viewEvents(events)
	return p, nil
}

// shownPizzas reads the pizzas of a page, and the number to go on after where
// there are more of them.
func (s *site) shownPizzas(ctx context.Context, order string, on shown) ([]pizzaView, int, error) {
	list, err := s.ledger.Pizzas(ctx, order, on.first(), perPage+1, on.Filter)
	if err != nil {
		return nil, 0, err
	}
	more := 0
	if len(list) > perPage {
		list = list[:perPage]
		more = list[perPage-1].ID.Number
	}
	views := make([]pizzaView, 0, len(list))
	for _, p := range list {
		views = append(views, viewPizza(p, s.pipeline))
	}
	return views, more, nil
}

func (s *site) pizza(w http.ResponseWriter, r *http.Request) {
	text := r.PathValue("id")
	id, err := event.ParsePizzaID(text)
	if err != nil {
		s.failNotFound(w, r, "pizza", text)
		return
	}
	p, open, err := s.pizzaPage(r.Context(), id)
	if err != nil {
		s.failLedger(w, r, err, "pizza", text)
		return
	}
	c := s.chrome(r, p.Pizza.Name.plain(), "/orders")
	if open || c.Line.Title != "" {
		c.Live = "/pizzas/" + text + "/live"
	}
	s.render(w, r, http.StatusOK, pizzaPageView(c, p))
}

// pizzaPage reads what the page of a pizza shows, and whether that can still change.
func (s *site) pizzaPage(ctx context.Context, id event.PizzaID) (pizzaPage, bool, error) {
	p, err := s.ledger.Pizza(ctx, id)
	if err != nil {
		return pizzaPage{}, false, err
	}
	journal, err := s.ledger.Journal(ctx, id)
	if err != nil {
		return pizzaPage{}, false, err
	}
	page := viewPizzaPage(p, journal, s.pipeline)
	page.API = !s.admin
	return page, !s.settled(p.CompletedAt, page.Pizza.Inferred), nil
}

// settleTime is how long a page waits for the events of inferred steps, which
// come right behind the last one or never.
const settleTime = 2 * time.Second

// settled reports whether a page of something completed at a time (zero: not
// yet) changes no more.
func (s *site) settled(completed time.Time, inferred bool) bool {
	return !completed.IsZero() && (!inferred || s.now().Sub(completed) >= settleTime)
}
