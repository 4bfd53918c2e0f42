//go:build !pizzamill_break_unique && !pizzamill_break_restart

package store

// A test that has never failed proves little. The crash test is run against
// builds of the ledger with one guard switched off, and must fail on each.
const (
	breakUnique  = false // facts ignore what the pizza already has
	breakRestart = false // open orders do not start again after the bus was lost
)
