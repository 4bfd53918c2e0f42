package ui

import (
	"context"
	"sync"
	"time"

	"github.com/pizzamill/pizzamill/platform/bus"
)

// How long an answer about the lag counts, how long a failure does, and how
// long a page waits for one.
const (
	lagCounts   = 250 * time.Millisecond
	lagFailed   = 2 * time.Second
	lagPatience = 300 * time.Millisecond
)

// lagCache asks the bus for the lag of its groups once for all tabs that want
// to know: a broker is asked over the network. The zero value with ask is usable.
type lagCache struct {
	ask func(context.Context) ([]bus.Lag, error)

	asking sync.Mutex
	mu     sync.Mutex
	until  time.Time
	last   []bus.Lag
	err    error
}

// get returns what is known, at most lagCounts old; older while another caller
// is asking.
func (c *lagCache) get(ctx context.Context) ([]bus.Lag, error) {
	c.mu.Lock()
	last, err, fresh := c.last, c.err, time.Now().Before(c.until)
	c.mu.Unlock()
	if fresh || !c.asking.TryLock() {
		return last, err
	}
	defer c.asking.Unlock()
	ctx, cancel := context.WithTimeout(ctx, lagPatience)
	defer cancel()
	last, err = c.ask(ctx)
	counts := lagCounts
	if err != nil {
		counts = lagFailed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last, c.err, c.until = last, err, time.Now().Add(counts)
	return last, err
}
