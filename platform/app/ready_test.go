package app

import (
	"errors"
	"testing"
)

// What the start still waits for and a row that is on another bus are two
// causes: a renewal that succeeds must not make a process ready that has not
// subscribed yet, nor a start that ends one that was left behind.
func TestReadyKnowsEachCause(t *testing.T) {
	starting, left := errors.New("starting"), errors.New("left behind")
	p := &process{}
	p.waiting.Store(&starting)
	p.lost.Store(&left)
	p.lost.Store(nil) // renewed
	if err := p.ready(); !errors.Is(err, starting) {
		t.Errorf("after a renewal: %v, want %v", err, starting)
	}
	p.lost.Store(&left)
	p.waiting.Store(nil) // started
	if err := p.ready(); !errors.Is(err, left) {
		t.Errorf("after the start: %v, want %v", err, left)
	}
	p.lost.Store(nil)
	if err := p.ready(); err != nil {
		t.Errorf("with everything there: %v", err)
	}
}
