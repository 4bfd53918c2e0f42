package httpserver

import (
	"net/http"
	"net/url"
	"strings"
)

// errorPages is the pattern of the handler that shows errors as pages.
const errorPages = "/"

// route hands a request to the mux, and answers itself where the mux has no
// handler: http.ServeMux would do it in plain text.
func (c *chain) route(w http.ResponseWriter, r *http.Request) {
	if c.matches(r) {
		c.mux.ServeHTTP(w, r)
		return
	}
	if allowed := c.allowed(r); len(allowed) > 0 {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		c.fail(w, r, NewProblem(http.StatusMethodNotAllowed,
			"this path takes "+strings.Join(allowed, ", ")+" only"))
		return
	}
	c.fail(w, r, NewProblem(http.StatusNotFound, "there is nothing at this path"))
}

// matches reports whether the mux has a handler for this very request.
func (c *chain) matches(r *http.Request) bool {
	_, pattern := c.mux.Handler(r)
	return pattern != "" && pattern != errorPages
}

// allowed returns the methods that the path of a request takes.
func (c *chain) allowed(r *http.Request) []string {
	var methods []string
	other := *r
	for _, m := range []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	} {
		if other.Method = m; c.matches(&other) {
			methods = append(methods, m)
		}
	}
	return methods
}

// fail answers with a problem in the form that suits the caller.
func (c *chain) fail(w http.ResponseWriter, r *http.Request, p Problem) {
	if !forPrograms(r.URL.Path) {
		// No page has this path or method, so that only the pattern for errors matches.
		probe := &http.Request{Method: "ERROR", URL: &url.URL{Path: "/-/-/-"}, Host: r.Host}
		if pages, pattern := c.mux.Handler(probe); pattern == errorPages {
			pages.ServeHTTP(w, withProblem(r, p))
			return
		}
	}
	p.Write(w)
}

// forPrograms reports whether what calls a path is a program and no browser.
func forPrograms(path string) bool {
	return isProbe(path) || path == "/api" || strings.HasPrefix(path, "/api/") ||
		path == "/order" || strings.HasPrefix(path, "/order/")
}
