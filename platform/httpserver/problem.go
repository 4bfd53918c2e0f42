package httpserver

import (
	"context"
	"encoding/json"
	"net/http"
)

// Problem is a problem document (RFC 9457).
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	// Instance names this one occurrence, where the log knows more about it.
	Instance string `json:"instance,omitempty"`
}

// NewProblem returns the problem of a status code. The detail is a sentence for
// the caller: what is wrong with this request, and what would be right.
func NewProblem(status int, detail string) Problem {
	return Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
}

// Write answers with the problem as application/problem+json. Headers such as
// Allow or Retry-After are the caller's to set before.
func (p Problem) Write(w http.ResponseWriter) {
	body, err := json.Marshal(p)
	if err != nil { // strings and an integer always marshal
		panic("httpserver: marshal problem: " + err.Error())
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n')) // the caller may be gone; there is nobody else to tell
}

type problemKey struct{}

// ProblemOf returns what the handler mounted at "/" is to show. It is false
// for a request that did not come through Main or Admin.
func ProblemOf(r *http.Request) (Problem, bool) {
	p, ok := r.Context().Value(problemKey{}).(Problem)
	return p, ok
}

func withProblem(r *http.Request, p Problem) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), problemKey{}, p))
}
