package store

import (
	"context"
	"sync"
	"time"
)

// What can be watched beside one order by its ID. No order has such an ID.
const (
	anyOrder = ""
	dispatch = "*"
)

// watchers are the readers that wait for commits. A signal never waits for a
// reader: it is a value in a channel of one, and is dropped if one is there.
//
// Commits of this process signal by themselves. Those of other processes are
// looked for, if there may be any: see poll.go.
type watchers struct {
	driver Driver
	every  time.Duration // how often to look; 0: never

	mu      sync.Mutex
	of      map[string]map[chan struct{}]struct{}
	looking bool           // the goroutine that looks runs
	ended   sync.WaitGroup // of that goroutine
	closing context.Context
	cancel  context.CancelFunc
}

func newWatchers(d Driver, every time.Duration) *watchers {
	w := &watchers{driver: d, every: every, of: map[string]map[chan struct{}]struct{}{}}
	w.closing, w.cancel = context.WithCancel(context.Background())
	return w
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (w *watchers) notify(subjects ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range subjects {
		for c := range w.of[s] {
			signal(c)
		}
	}
}

func (w *watchers) add(subject string) (c <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of[subject] == nil {
		w.of[subject] = map[chan struct{}]struct{}{}
	}
	w.of[subject][ch] = struct{}{}
	if w.every > 0 && !w.looking && w.closing.Err() == nil {
		w.looking = true
		w.ended.Go(w.look)
	}
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.of[subject], ch)
		if len(w.of[subject]) == 0 {
			delete(w.of, subject)
		}
	}
}

// Watch returns a channel that gets a value after a commit that changed what is
// shown of the order, or any order if order is "". Commits that come before the value is
// taken are one value. The channel is never closed. stop ends it and must be called.
func (l *Ledger) Watch(order string) (c <-chan struct{}, stop func()) {
	return l.watch.add(order)
}

// WatchDispatch is like Watch, for commits after which there may be numbers to
// dispatch: an order is new, starts again, or has room again. A lease that
// runs out gives no signal.
func (l *Ledger) WatchDispatch() (c <-chan struct{}, stop func()) {
	return l.watch.add(dispatch)
}

// announce tells the watchers what a commit changed.
func (l *Ledger) announce(u *unit) {
	var subjects []string
	ready := u.started || len(u.placed) > 0
	for _, o := range u.orders {
		if o == nil || !o.dirty {
			continue
		}
		if o.visible {
			subjects = append(subjects, o.ID)
		}
		ready = ready || o.waits() && !o.was.waits()
	}
	for _, o := range u.placed {
		subjects = append(subjects, o.ID)
	}
	if len(subjects) > 0 {
		subjects = append(subjects, anyOrder)
	}
	if ready {
		subjects = append(subjects, dispatch)
	}
	l.watch.notify(subjects...)
}

// waits reports whether a relay can take the order, so far as no time passes.
func (o *OrderRow) waits() bool { return o.HasRoom() && o.LeaseToken == "" }
