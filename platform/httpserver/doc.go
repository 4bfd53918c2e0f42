// Package httpserver is what both listeners stand on: it binds them early,
// serves them with timeouts that suit small requests and endless event
// streams, and puts every request through one chain: log, recovery, security
// headers, admin guard, cross-origin protection, and errors in the form that
// the caller can read.
//
// Errors come in two forms. Under /api/, /order, and for the probes and the
// metrics they are problem documents (RFC 9457). Everywhere else they are
// pages, if the owner of the mux has mounted a handler at "/" without a method:
// it is called for whatever no other pattern matches, and for panics and
// refusals too, and learns from ProblemOf what to show. Without such a handler
// all errors are problem documents.
//
// A handler that writes for long, such as an event stream, moves the write
// deadline with each write and ends when Stopping says so.
package httpserver
