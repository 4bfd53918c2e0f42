package api

import (
	"context"
	"errors"
	"math"
	"net/http"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

const maxPage = 1000

func (s *server) placeOrder(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(r)
	if err != nil {
		return err
	}
	key, err := idempotencyKey(r.Header)
	if err != nil {
		return err
	}
	count, err := parseCount(body, s.MaxPizzas)
	if err != nil {
		return err
	}
	order, err := s.place(r.Context(), count, key)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/api/orders/"+order.ID)
	writeJSON(w, http.StatusAccepted, appendOrder(nil, order))
	return nil
}

// place commits an order, unless this process takes none any more.
func (s *server) place(ctx context.Context, count int, key string) (store.Order, error) {
	if err := s.Taking(); err != nil {
		return store.Order{}, refuse(http.StatusServiceUnavailable, "no orders are taken now: "+err.Error())
	}
	order, _, err := s.Ledger.PlaceOrder(ctx, count, key)
	if errors.Is(err, store.ErrKeyReused) {
		return store.Order{}, refuse(http.StatusUnprocessableEntity, "this Idempotency-Key came with another count before")
	}
	return order, err
}

func (s *server) listOrders(w http.ResponseWriter, r *http.Request) error {
	q := parseQuery(r)
	limit := int(q.number("limit", 20, 1, maxPage))
	before := q.text("before")
	if q.values.Has("before") && !store.IsOrderID(before) {
		q.wrong("before must be the ID of an order")
	}
	if err := q.problem(); err != nil {
		return err
	}
	// One more than asked for tells whether there is another page.
	orders, err := s.Ledger.Orders(r.Context(), limit+1, before)
	if err != nil {
		return err
	}
	next := ""
	if len(orders) > limit {
		orders = orders[:limit]
		next = orders[limit-1].ID
	}
	b := appendList([]byte{'{'}, "orders", orders, appendOrder)
	b = appendTextOrNull(b, "next_before", next)
	writeJSON(w, http.StatusOK, append(b, '}'))
	return nil
}

func (s *server) getOrder(w http.ResponseWriter, r *http.Request) error {
	q := parseQuery(r)
	after := int(q.number("after", 0, 0, math.MaxInt32))
	limit := int(q.number("limit", 100, 1, maxPage))
	if err := q.problem(); err != nil {
		return err
	}
	id := r.PathValue("id")
	if !event.ValidOrderID(id) {
		return store.ErrNotFound
	}
	order, pizzas, err := s.Ledger.OrderWithPizzas(r.Context(), id, after, limit, store.AnyPizza)
	if err != nil {
		return err
	}
	b := appendOrderOpen(nil, order)
	b = appendList(b, "pizzas", pizzas, appendPizza)
	if n := len(pizzas); n > 0 && pizzas[n-1].ID.Number < order.Count {
		b = appendNumber(b, "next_after", pizzas[n-1].ID.Number)
	} else {
		b = append(appendName(b, "next_after"), "null"...)
	}
	writeJSON(w, http.StatusOK, append(b, '}'))
	return nil
}

// order returns the order that a path names.
func (s *server) order(ctx context.Context, id string) (store.Order, error) {
	if !event.ValidOrderID(id) {
		return store.Order{}, store.ErrNotFound
	}
	return s.Ledger.Order(ctx, id)
}

func (s *server) getPizza(w http.ResponseWriter, r *http.Request) error {
	id, err := event.ParsePizzaID(r.PathValue("id"))
	if err != nil {
		return store.ErrNotFound
	}
	pizza, err := s.Ledger.Pizza(r.Context(), id)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, appendPizza(nil, pizza))
	return nil
}

func (s *server) getJournal(w http.ResponseWriter, r *http.Request) error {
	id, err := event.ParsePizzaID(r.PathValue("id"))
	if err != nil {
		return store.ErrNotFound
	}
	entries, err := s.Ledger.Journal(r.Context(), id)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, appendJournal(nil, id, entries))
	return nil
}
