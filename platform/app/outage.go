package app

import (
	"context"
	"errors"
	"time"

	"github.com/pizzamill/pizzamill/platform/module"
)

// outageEvery is how often the process looks whether the bus carries messages. It
// does so whether or not anybody has a page open, so that a page can say since when.
const outageEvery = time.Second

// theBroker is what a start waits for that has none.
const theBroker = "the broker"

// startWatch watches the bus until the process stops.
func (p *process) startWatch() {
	var watch tasks
	watch.add("watch the bus", p.watchBus)
	watch.start(p.fail)
	p.onStop("watch over the bus", watch.stop)
}

// watchBus keeps the outage up to date. One look that fails is none yet: a busy
// broker may be late to answer once.
func (p *process) watchBus(ctx context.Context) error {
	tick := time.NewTicker(outageEvery)
	defer tick.Stop()
	var since time.Time
	for {
		switch err := p.carries(ctx); {
		case ctx.Err() != nil:
		case err == nil:
			since = time.Time{}
			p.outage.Store(nil)
		case since.IsZero():
			since = time.Now()
		default:
			p.outage.Store(&module.Outage{Since: since, Refuses: p.reaches(ctx)})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// carries returns why the bus carries no messages, nil if it does or if the start
// waits for something else first.
func (p *process) carries(ctx context.Context) error {
	waiting := p.waiting.Load()
	if waiting == nil {
		return p.bus.Check(ctx)
	}
	if wait := new(waitError); errors.As(*waiting, &wait) && wait.what == theBroker {
		return wait
	}
	return nil
}

// reaches reports whether the broker answers.
func (p *process) reaches(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, identityPatience)
	defer cancel()
	_, err := p.bus.Identity(ctx)
	return err == nil
}
