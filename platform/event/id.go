package event

import (
	"fmt"
	"strconv"
	"strings"
)

// MaxOrderID is the length of the longest order ID, in bytes.
const MaxOrderID = 64

// PizzaID names one pizza: the order and its number in it, from 1.
// Its text form is "<order id>-<number>".
type PizzaID struct {
	Order  string
	Number int
}

// String returns "<order id>-<number>".
func (id PizzaID) String() string { return id.Order + "-" + strconv.Itoa(id.Number) }

// ParsePizzaID splits a pizza ID at its last dash. The number has no sign and
// no leading zero, so that a pizza has exactly one ID.
func ParsePizzaID(s string) (PizzaID, error) {
	i := strings.LastIndexByte(s, '-')
	if i < 0 || !ValidOrderID(s[:i]) {
		return PizzaID{}, fmt.Errorf("not a pizza ID: want <order id>-<number>")
	}
	digits := s[i+1:]
	if digits == "" || len(digits) > 9 || digits[0] == '0' {
		return PizzaID{}, fmt.Errorf("not a pizza ID: want <order id>-<number>")
	}
	n := 0
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return PizzaID{}, fmt.Errorf("not a pizza ID: want <order id>-<number>")
		}
		n = n*10 + int(c-'0')
	}
	return PizzaID{Order: s[:i], Number: n}, nil
}

// ValidOrderID reports whether s matches [A-Za-z0-9-]{1,64}.
func ValidOrderID(s string) bool {
	if s == "" || len(s) > MaxOrderID {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-':
		default:
			return false
		}
	}
	return true
}

// ID returns the identity of an event: "<pizza id>/<step>", and "/<replay>"
// behind it on a replay (replay > 0). It is computed from body and topic and
// never read from a header, so that whoever emits the same fact twice emits
// the same ID.
func ID(pizza string, step string, replay int) string {
	if replay > 0 {
		return pizza + "/" + step + "/" + strconv.Itoa(replay)
	}
	return pizza + "/" + step
}
