//go:build pizzamill_break_unique

package store

// This build is broken on purpose: a fact that comes twice is stored twice.
// See breakage_off.go.
const (
	breakUnique  = true
	breakRestart = false
)
