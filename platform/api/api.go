// Package api is the HTTP interface for programs: orders, pizzas and their
// event streams on the main listener; dead letters, lag, topology, metrics on
// the admin listener; probes on both. Every answer is committed state, read
// from the ledger or written to it; nothing is published inside a request.
//
// Errors are problem documents. Paths and methods that do not exist, panics
// and cross-origin requests are answered by httpserver, around the mux.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/httpserver"
	"github.com/pizzamill/pizzamill/platform/store"
	"github.com/pizzamill/pizzamill/platform/topology"
)

// requestTimeout bounds every request but event streams and the classic GET,
// which writes whole orders.
const requestTimeout = 15 * time.Second

// Deps is what the handlers stand on.
type Deps struct {
	// Ledger is needed on the main listener. On the admin listener it is nil
	// where no module of the process has the ledger; dead letters are absent then.
	Ledger *store.Ledger
	// Bus is needed on the admin listener only.
	Bus bus.Bus
	// MaxPizzas is the greatest count of an order.
	MaxPizzas int
	// Taking returns nil while orders are taken, and an error during shutdown.
	Taking func() error
	// Ready returns nil once the process has started everything and is on the
	// ledger's bus, else what it waits for.
	Ready func() error
	// Records is the table of processed events; nil if there is none.
	Records interface {
		Check(ctx context.Context) error
	}
	// Topology answers GET /api/topology. What it says of running modules holds
	// for this process, and where the bus cannot be asked.
	Topology topology.Topology
	// Metrics answers GET /metrics.
	Metrics http.Handler
	Log     *slog.Logger
}

type server struct {
	Deps
	pace pace
}

// Main mounts the calls of the main listener.
func Main(mux *http.ServeMux, d Deps) { mountMain(mux, &server{Deps: d, pace: defaultPace}) }

func mountMain(mux *http.ServeMux, s *server) {
	mux.Handle("POST /api/orders", s.handle(s.placeOrder))
	mux.Handle("GET /api/orders", s.handle(s.listOrders))
	mux.Handle("GET /api/orders/{id}", s.handle(s.getOrder))
	mux.Handle("GET /api/orders/{id}/events", http.HandlerFunc(s.events))
	mux.Handle("GET /api/pizzas/{id}", s.handle(s.getPizza))
	mux.Handle("GET /api/pizzas/{id}/journal", s.handle(s.getJournal))
	mux.Handle("POST /order/{value}", s.handle(s.classicPlace))
	mux.Handle("GET /order/{value}", s.handle(s.classicGet))
	mux.Handle("GET /livez", s.handle(live))
	mux.Handle("GET /readyz", s.handle(s.mainReady))
}

// Admin mounts the calls of the admin listener that this process can answer.
// It comes after the modules have mounted their pages: unless one of them has
// the front page, that is a list of the calls.
func Admin(mux *http.ServeMux, d Deps) {
	s := &server{Deps: d}
	var calls []string
	mount := func(path string, h http.Handler) {
		mux.Handle("GET "+path, h)
		calls = append(calls, path)
	}
	if d.Ledger != nil {
		mount("/api/dead-letters", s.handle(s.listLetters))
		mount("/api/dead-letters/{id}", s.handle(s.getLetter))
	}
	mount("/api/lag", s.handle(s.getLag))
	mount("/api/topology", s.handle(s.getTopology))
	mount("/metrics", d.Metrics)
	mount("/livez", s.handle(live))
	mount("/readyz", s.handle(s.adminReady))

	front := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/"}}
	if _, pattern := mux.Handler(front); pattern == "" || pattern == "/" {
		mux.Handle("GET /{$}", index(calls))
	}
}

// handle turns the error of a handler into its answer. The request's context
// does not end when the client half-closes its connection, which net/http takes
// for leaving; a client that really left is noticed when writing.
func (s *server) handle(f func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), requestTimeout)
		defer cancel()
		w.Header().Set("Cache-Control", "no-store")
		if err := f(w, r.WithContext(ctx)); err != nil {
			s.fail(w, r, err)
		}
	})
}

// problemError is an error that is answered with its problem.
type problemError struct{ httpserver.Problem }

func (e *problemError) Error() string { return e.Detail }

func refuse(status int, detail string) error {
	return &problemError{httpserver.NewProblem(status, detail)}
}

func badRequest(detail string) error { return refuse(http.StatusBadRequest, detail) }

// fail answers with the problem of an error. What is neither the caller's
// fault nor an unknown ID is the store's: it passes, so that the answer is 503
// and never 500.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var known *problemError
	switch {
	case errors.As(err, &known):
		if known.Status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "2")
		}
		known.Write(w)
	case errors.Is(err, store.ErrNotFound):
		httpserver.NewProblem(http.StatusNotFound, "nothing has this ID").Write(w)
	default:
		s.Log.Warn("request could not be answered", "method", r.Method, "path", r.URL.Path, "error", err)
		w.Header().Set("Retry-After", "2")
		httpserver.NewProblem(http.StatusServiceUnavailable, "the store cannot be reached, read or written now; try again").Write(w)
	}
}

// writeJSON answers with a JSON text. The client may be gone; then there is
// nobody to tell.
func writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}
