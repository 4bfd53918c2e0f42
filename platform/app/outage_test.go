package app

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pizzamill/pizzamill/platform/bus"
)

// brokenBus is one whose broker is away, or takes no messages.
type brokenBus struct {
	bus.Bus
	away, refuses atomic.Bool
}

func (b *brokenBus) Check(context.Context) error {
	if b.away.Load() || b.refuses.Load() {
		return errors.New("no")
	}
	return nil
}

func (b *brokenBus) Identity(context.Context) (string, error) {
	if b.away.Load() {
		return "", errors.New("away")
	}
	return "kafka//x", nil
}

// TestOutageHasItsBeginning: pages say since when the broker is away, also one
// that is opened long after.
func TestOutageHasItsBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &brokenBus{}
		p := &process{bus: b, failed: make(chan error, 1)}
		p.config.App.ShutdownTimeout = time.Minute
		p.startWatch()
		defer func() {
			if err := p.stop(); err != nil {
				t.Error(err)
			}
		}()
		pass := func(d time.Duration) { <-time.After(d); synctest.Wait() }
		pass(time.Minute + time.Millisecond)
		if o := p.outage.Load(); o != nil {
			t.Fatalf("an outage: %+v", o)
		}
		b.away.Store(true)
		begin := time.Now()
		pass(outageEvery)
		if o := p.outage.Load(); o != nil {
			t.Errorf("one look that failed is an outage: %+v", o)
		}
		pass(time.Hour)
		if o := p.outage.Load(); o == nil || o.Refuses || o.Since.Sub(begin) > outageEvery {
			t.Errorf("the broker is away since %v: %+v", begin, o)
		}
		b.refuses.Store(true)
		b.away.Store(false)
		pass(outageEvery)
		if o := p.outage.Load(); o == nil || !o.Refuses || o.Since.Sub(begin) > outageEvery {
			t.Errorf("the broker takes no messages: %+v", o)
		}
		b.refuses.Store(false)
		pass(outageEvery)
		if o := p.outage.Load(); o != nil {
			t.Errorf("still an outage: %+v", o)
		}
	})
}

// TestOutageWhileStarting: a process that waits for its broker has one, and one
// that waits for something else has not.
func TestOutageWhileStarting(t *testing.T) {
	b := &brokenBus{}
	b.away.Store(true)
	p := &process{bus: b}
	for _, c := range []struct {
		waiting error
		want    bool
	}{
		{errors.New("this process is starting"), false},
		{&waitError{"the store", errors.New("away")}, false},
		{&waitError{theBroker, errors.New("away")}, true},
	} {
		p.waiting.Store(&c.waiting)
		if err := p.carries(t.Context()); (err != nil) != c.want {
			t.Errorf("%v: %v, want an error: %v", c.waiting, err, c.want)
		}
	}
	p.waiting.Store(nil)
	if err := p.carries(t.Context()); err == nil {
		t.Error("a started process does not ask its bus")
	}
}
