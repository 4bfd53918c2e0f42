//go:build pizzamill_break_restart && !pizzamill_break_unique

package store

// This build is broken on purpose: what a lost bus carried is not dispatched
// again. See breakage_off.go.
const (
	breakUnique  = false
	breakRestart = true
)
