// Package idempotency remembers which events a stage has processed, so that a
// second delivery is acknowledged without running the stage again.
//
// A record is made after success: look up, run, publish, record, acknowledge.
// Losing a record costs a duplicate with the same identity, which everything
// downstream absorbs; recording before the work is done would cost a pizza.
package idempotency

import "context"

// Records are the processed events of one stage.
type Records interface {
	// Begin asks whether an event was processed that came over the bus of that
	// identity (see bus.Origin; "" in memory, where there is one): what became of
	// it on another bus says nothing, since its output is there. If not, the caller has it in
	// hand until it calls end, with true if its output is published. While it
	// has, Begin blocks for other copies of the same event in this process. If
	// the event was processed, end is nil. An error means that the records
	// cannot be reached; nothing is in hand then.
	Begin(ctx context.Context, bus, eventID string) (processed bool, end func(ok bool), err error)
}

// None remembers nothing, for handlers that may run twice for one event.
type None struct{}

// Begin implements Records.
func (None) Begin(context.Context, string, string) (bool, func(bool), error) {
	return false, func(bool) {}, nil
}
