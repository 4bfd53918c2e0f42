// Package store holds the ledger: orders, facts about pizzas, dead letters.
// The ledger is the truth and the bus is a conveyor: what a 2xx answered is
// committed and synced here first, and everything on the bus can be made again
// from here.
//
// The ledger is on one bus at a time, and any number of processes on that bus
// work on it (bus.go, process.go).
//
// The rules of the ledger are here, in a unit of work per commit (unit.go); a
// Driver keeps rows and knows none of them.
package store

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pizzamill/pizzamill/platform/event"
)

// DefaultLease is how long a relay may take to publish what it leased.
const DefaultLease = 30 * time.Second

// Options of a ledger.
type Options struct {
	Pipeline event.Pipeline
	Log      *slog.Logger // nil: no logs
	// ObserveCommit, if set, is told the seconds that each commit took.
	ObserveCommit func(seconds float64)
	// ObservePizza, if set, is told the seconds from order to completion of each
	// pizza that was completed.
	ObservePizza func(seconds float64)
	// Now and Random make order IDs and their times; nil: the clock and
	// crypto/rand. They are called from one goroutine.
	Now    func() time.Time
	Random io.Reader
	// LeaseFor is how long a lease runs by the database's clock; 0: DefaultLease.
	LeaseFor time.Duration
	// AliveFor is how long a process that does not renew its row counts as alive
	// by the database's clock; 0: ProcessLife.
	AliveFor time.Duration
	// Poll is how often the ledger looks for commits of other processes while
	// somebody watches; 0: never, since there are none.
	Poll time.Duration
}

// Ledger is the one owner of orders, facts and dead letters. Its methods are
// safe for concurrent use. Concurrent writes join one commit, formed by what is
// waiting; each returns once its commit is synced. A write whose context ends
// before its commit begins is dropped and returns the context's error; once
// begun it returns the true outcome. Errors that are none of those in this
// package mean that the database could not do it: nothing was written, and
// trying again later is right.
type Ledger struct {
	driver   Driver
	pipeline event.Pipeline
	log      *slog.Logger
	observe  func(seconds float64) // commits; may be nil
	baked    func(seconds float64) // pizzas; may be nil
	now      func() time.Time
	leaseFor time.Duration
	aliveFor time.Duration
	watch    *watchers
	self     atomic.Pointer[self] // nil before Start and after Leave

	// The writer's own.
	ids     orderIDs
	contact contact

	failing atomic.Pointer[failing] // nil after a commit that succeeded

	mu      sync.Mutex
	queue   []*op
	waiting int  // weight of the queue
	urgent  bool // the queue may have an op that is not patient
	closed  bool
	wake    chan struct{} // of one: there is something in the queue, or it closed
	stopped chan struct{} // closed when the writer has returned
}

// failing is the last commit, if it could not be done.
type failing struct {
	since time.Time
	err   error
}

// failureCounts is how long a failed commit makes Check fail.
const failureCounts = 3 * time.Second

// New returns the ledger in a database. Close it before the driver, which
// stays the caller's.
func New(d Driver, o Options) *Ledger {
	l := &Ledger{
		driver:   d,
		pipeline: o.Pipeline,
		log:      o.Log,
		observe:  o.ObserveCommit,
		baked:    o.ObservePizza,
		now:      o.Now,
		leaseFor: o.LeaseFor,
		aliveFor: o.AliveFor,
		watch:    newWatchers(d, o.Poll),
		wake:     make(chan struct{}, 1),
		stopped:  make(chan struct{}),
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if l.now == nil {
		l.now = time.Now
	}
	if l.leaseFor == 0 {
		l.leaseFor = DefaultLease
	}
	if l.aliveFor == 0 {
		l.aliveFor = ProcessLife
	}
	l.ids = orderIDs{now: l.now, random: o.Random}
	if l.ids.random == nil {
		l.ids.random = rand.Reader
	}
	go l.write()
	return l
}

// Close waits until what was asked for before is committed, and stops. Writes
// after it get ErrClosed; reads go on as long as the driver is open.
func (l *Ledger) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	signal(l.wake)
	<-l.stopped
	l.watch.close()
	return nil
}

// Check returns nil if the ledger can be written to now. It finds out by
// writing and syncing, and returns when ctx ends. A commit that failed a moment
// ago counts as well: on a full disk the check's own few bytes may still fit.
func (l *Ledger) Check(ctx context.Context) error {
	if f := l.failing.Load(); f != nil && time.Since(f.since) < failureCounts {
		return f.err
	}
	return l.do(&op{
		ctx:      ctx,
		weight:   1,
		careless: true,
		apply: func(u *unit) (outcome, abort error) {
			u.meta[metaChecked] = strconv.FormatInt(millis(l.now()), 10)
			return nil, nil
		},
	})
}
