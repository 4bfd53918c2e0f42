// Package ui has the pages: the order form, the orders, the pizzas, each drawn
// with its real ingredients. They work as plain forms and links; with script
// they are live, by fragments that the server renders with the same templates.
//
//	routes   ui.go         which page is where
//	pages    pages.go      what they read from the ledger, *.templ how they look
//	views    view_*.go     from the ledger's rows to what a template shows
//	orders   form.go       the form: keys, counts, errors under the field
//	live     live.go       event streams of fragments, static/live.js takes them
//	outages  outage.go     what they say while the broker or the store is away
//	words    phrase.go     what others have written, set apart from ours
//	drawing  picture.go    from ingredients to layers of static/pizza-symbols.svg
package ui

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/a-h/templ"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/module"
	"github.com/pizzamill/pizzamill/platform/store"
)

// Module mounts the pages on both listeners.
var Module = module.Module{Name: "ui", Ledger: true, Main: true, Start: start}

// site is the pages of one listener.
type site struct {
	ledger   *store.Ledger
	pipeline event.Pipeline
	lag      func(context.Context) ([]bus.Lag, error)
	store    *storeWatch
	outage   func() *module.Outage
	broker   string // its name
	runs     string // what this process is
	max      int    // pizzas of the largest order
	log      *slog.Logger
	admin    bool
	now      func() time.Time
}

func start(env *module.Env) error {
	main := site{
		ledger:   env.Ledger,
		pipeline: env.Pipeline,
		lag:      (&lagCache{ask: env.Bus.Lag}).get,
		store:    watchStore(env.Ledger, time.Now),
		outage:   env.Outage,
		broker:   brokerName(env.Config),
		runs:     describeProcess(env.Config),
		max:      env.Config.Pipeline.MaxPizzasPerOrder,
		log:      env.Log,
		now:      time.Now,
	}
	admin := main
	admin.admin = true
	main.mount(env.Main)
	admin.mount(env.Admin)
	return nil
}

func (s *site) mount(mux *http.ServeMux) {
	if s.admin {
		mux.Handle("GET /{$}", http.RedirectHandler("/orders", http.StatusFound))
	} else {
		mux.HandleFunc("GET /{$}", s.home)
		mux.HandleFunc("GET /live", s.homeLive)
		mux.HandleFunc("POST /orders", s.placeOrder)
	}
	mux.HandleFunc("GET /orders", s.orders)
	mux.HandleFunc("GET /orders/live", s.ordersLive)
	mux.HandleFunc("GET /orders/{id}", s.order)
	mux.HandleFunc("GET /orders/{id}/live", s.orderLive)
	mux.HandleFunc("GET /pizzas/{id}", s.pizza)
	mux.HandleFunc("GET /pizzas/{id}/live", s.pizzaLive)
	mux.HandleFunc("GET /static/{file}", s.static)
	mux.HandleFunc("/", s.problem)
}

// chrome returns the frame of a page. nav is the entry of the navigation that
// it belongs to, "" for none.
func (s *site) chrome(r *http.Request, title, nav string) chrome {
	c := chrome{Title: title, Admin: s.admin, Nav: nav, Runs: s.runs}
	if nav != "" {
		c.Line = s.lineNow(r.Context())
	}
	if cookie, err := r.Cookie("theme"); err == nil && (cookie.Value == "light" || cookie.Value == "dark") {
		c.Theme = cookie.Value
	}
	return c
}

// render answers with a page. It is rendered whole before the first byte is
// sent, so that an error cannot leave half a page behind.
func (s *site) render(w http.ResponseWriter, r *http.Request, status int, page templ.Component) {
	var buf bytes.Buffer
	if err := page.Render(r.Context(), &buf); err != nil {
		panic(fmt.Errorf("render page: %w", err))
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Add("Vary", "Cookie")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "private, no-cache")
	}
	w.WriteHeader(status)
	_, _ = w.Write(buf.Bytes()) // the browser may be gone; there is nobody else to tell
}
