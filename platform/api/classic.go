package api

import (
	"context"
	"net/http"
	"time"

	"github.com/pizzamill/pizzamill/platform/store"
)

// The classic demo's calls: POST /order/{count} and GET /order/{id}.

func (s *server) classicPlace(w http.ResponseWriter, r *http.Request) error {
	count, err := plainCount(r.PathValue("value"), s.MaxPizzas)
	if err != nil {
		return err
	}
	key, err := idempotencyKey(r.Header)
	if err != nil {
		return err
	}
	order, err := s.place(r.Context(), count, key)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, append(appendText([]byte{'{'}, "order_id", order.ID), '}'))
	return nil
}

// classicGet answers with all finished pizzas of an order. They may be many,
// so that it reads and writes them a page at a time.
func (s *server) classicGet(w http.ResponseWriter, r *http.Request) error {
	order, err := s.order(r.Context(), r.PathValue("value"))
	if err != nil {
		return err
	}
	page, err := s.finished(r.Context(), order.ID, 0)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodHead {
		return nil
	}
	b := appendText([]byte{'{'}, "id", order.ID)
	b = appendNumber(b, "count", order.Count)
	b = append(appendName(b, "pizzas"), '[')
	for comma := false; len(page) > 0; {
		for _, p := range page {
			if comma {
				b = append(b, ',')
			}
			b, comma = appendPizza(b, p), true
		}
		if len(page) < maxPage {
			break
		}
		write(w, b)
		b = b[:0]
		if page, err = s.finished(r.Context(), order.ID, page[len(page)-1].ID.Number); err != nil {
			s.Log.Warn("classic order is cut short", "order", order.ID, "error", err)
			panic(http.ErrAbortHandler) // the header said 200: a cut answer is the only way left to say no
		}
	}
	write(w, append(b, "]}\n"...))
	return nil
}

func (s *server) finished(ctx context.Context, order string, after int) ([]store.Pizza, error) {
	// A long answer may take longer than the request's own time; each page has its own.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	return s.Ledger.Pizzas(ctx, order, after, maxPage, store.CompletePizzas)
}

// write sends a part of a long answer, and ends the request if the client does
// not take it in time.
func write(w http.ResponseWriter, b []byte) {
	// net/http clears the deadline behind the request.
	err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(requestTimeout))
	if err == nil {
		_, err = w.Write(b)
	}
	if err != nil {
		panic(http.ErrAbortHandler)
	}
}
