// Package e2e tests pizzamill from outside: the built binary, in a process of
// its own, over HTTP, signals and the command line. Nothing here calls the
// product's code, so what passes here is what a user gets.
//
// The heart is a loader that keeps its own ledger of every answer (book) and an
// audit that holds the server to it: no pizza lost, none doubled, none that
// nobody ordered. The audit is proven on builds that are broken on purpose.
//
// The same suite runs in every shape, on every bus and store (TestAcceptance),
// whose results are docs/parity.md. A cluster is one pizzamill of several
// processes on servers that internal/testservice finds; each test has topics, a
// vhost and a database of its own there.
//
// A plain go test runs a short version of everything but the longest tests;
// PIZZAMILL_E2E=full, which make test sets, runs all.
package e2e
