package ui

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/pizzamill/pizzamill/platform/httpserver"
	"github.com/pizzamill/pizzamill/platform/store"
)

// retryAfter is what a 503 asks for, in seconds.
const retryAfter = "30"

// problem shows the errors that the listener itself finds: nothing at this
// path, a method that it does not take, a panic.
func (s *site) problem(w http.ResponseWriter, r *http.Request) {
	p, ok := httpserver.ProblemOf(r)
	if !ok {
		p = httpserver.NewProblem(http.StatusNotFound, "")
	}
	s.fail(w, r, p)
}

// fail answers with an error page.
func (s *site) fail(w http.ResponseWriter, r *http.Request, p httpserver.Problem) {
	w.Header().Set("Cache-Control", "no-store")
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	f := describe(p)
	s.render(w, r, p.Status, failView(s.chrome(r, f.Title, ""), f))
}

// describe puts a problem into the words of a page.
func describe(p httpserver.Problem) failure {
	f := failure{Status: p.Status, Title: p.Title, Text: sentence(p.Detail)}
	switch p.Status {
	case http.StatusNotFound:
		if p.Title == http.StatusText(p.Status) {
			f.Title, f.Text = "No such page", "There is nothing at this address. Check the last letters."
		}
	case http.StatusMethodNotAllowed:
		f.Title = "Not like this"
	case http.StatusInternalServerError:
		f.Title, f.Again = "Something burnt", true
		f.Text = "It is not your fault."
		if p.Instance != "" {
			f.Text = "It is written down as " + strings.TrimPrefix(p.Instance, "urn:uuid:") + " in the log."
		}
	case http.StatusServiceUnavailable:
		f.Title, f.Again = "The kitchen is closed for a moment", true
	}
	return f
}

func sentence(s string) string {
	s = capital(s)
	if s != "" && !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}

// failLedger answers for an error of the ledger. noun is what was looked for.
func (s *site) failLedger(w http.ResponseWriter, r *http.Request, err error, noun, id string) {
	switch {
	case errors.Is(err, context.Canceled) && r.Context().Err() != nil: // the browser is gone
	case errors.Is(err, store.ErrNotFound):
		s.failNotFound(w, r, noun, id)
	default:
		s.log.ErrorContext(r.Context(), "page: read ledger", "path", r.URL.Path, "err", err)
		s.fail(w, r, httpserver.NewProblem(http.StatusServiceUnavailable, "The store cannot be read. Try again in a minute."))
	}
}

func (s *site) failNotFound(w http.ResponseWriter, r *http.Request, noun, id string) {
	p := httpserver.NewProblem(http.StatusNotFound, "There is no "+noun+" "+undirected(cut(id, 80))+". Check the last letters.")
	p.Title = "No such " + noun
	s.fail(w, r, p)
}
