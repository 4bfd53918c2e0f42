package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync/atomic"
	"time"
)

const (
	// maxWeight bounds what one commit holds, in facts, so that no caller waits
	// long for the others. A single larger call is a commit of its own.
	maxWeight = 4096
	// pace is how soon after the begin of one commit the next one begins, if
	// only facts wait. Under load a pizza's facts then meet in a few commits
	// and not in six, and each of them reads and writes its row once.
	pace = 4 * time.Millisecond
	// fullWeight is how much of that is worth a commit at once.
	fullWeight = 512
)

// op is one call that waits for a commit.
type op struct {
	ctx    context.Context
	weight int
	// patient ops may wait for the pace; everybody waits for all others.
	patient bool
	// careless ops are of no consequence: the caller leaves when its context
	// ends, whatever becomes of the commit.
	careless bool
	// need names what the op will read, so that a commit loads it at once.
	need func(*needs)
	// apply changes the unit. outcome is what the caller gets, while the commit
	// goes on; abort means that the commit as a whole cannot go on. It may run
	// again if the commit fails, and must then set its results anew.
	apply func(*unit) (outcome, abort error)

	state atomic.Int32 // opWaiting, then opBegun or opDropped
	err   error        // valid once done is closed
	done  chan struct{}
}

const (
	opWaiting = iota
	opBegun
	opDropped
)

func (o *op) finish(err error) {
	o.err = err
	close(o.done)
}

// do hands an op to the writer and waits for its commit. If ctx ends before
// the op's commit began, the op is dropped. Once begun, do waits for the true
// outcome: a caller must not be told "no" about something that was written.
func (l *Ledger) do(o *op) error {
	if err := o.ctx.Err(); err != nil {
		return err
	}
	o.done = make(chan struct{})
	if err := l.enqueue(o); err != nil {
		return err
	}
	select {
	case <-o.done:
		return o.err
	case <-o.ctx.Done():
		if o.state.CompareAndSwap(opWaiting, opDropped) || o.careless {
			return o.ctx.Err()
		}
		<-o.done
		return o.err
	}
}

func (l *Ledger) enqueue(o *op) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	l.queue = append(l.queue, o)
	// The writer looks at the queue by itself after the pace: waking it for
	// each op would cost more than some commits do.
	wake := len(l.queue) == 1 || !o.patient || l.waiting < fullWeight && l.waiting+o.weight >= fullWeight
	l.waiting += o.weight
	l.urgent = l.urgent || !o.patient
	l.mu.Unlock()
	if wake {
		signal(l.wake)
	}
	return nil
}

// write is the goroutine that owns the driver's transactions. Whatever waits
// when a commit is due is that commit. It returns once the ledger is closed
// and the queue is worked off.
func (l *Ledger) write() {
	defer close(l.stopped)
	timer := time.NewTimer(pace)
	defer timer.Stop()
	var last time.Time
	for {
		batch, early, closed := l.take(time.Since(last))
		switch {
		case len(batch) > 0:
			last = time.Now()
			l.commit(batch)
		case closed:
			return
		case early > 0:
			timer.Reset(early)
			select {
			case <-timer.C:
			case <-l.wake:
			}
		default:
			<-l.wake
		}
	}
}

// take removes the ops of the next commit from the queue, since being the time
// since the last one began. If it is too early for what waits, it returns how
// much, and no op.
func (l *Ledger) take(since time.Duration) (batch []*op, early time.Duration, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) > 0 && since < pace && !l.urgent && !l.closed && l.waiting < fullWeight {
		return nil, pace - since, false
	}
	n, weight := 0, 0
	for n < len(l.queue) && (n == 0 || weight+l.queue[n].weight <= maxWeight) {
		weight += l.queue[n].weight
		n++
	}
	batch = l.queue[:n:n]
	l.queue = l.queue[n:]
	if l.waiting -= weight; len(l.queue) == 0 {
		l.queue = nil // lets go of the array that batch shares
		l.urgent = false
	}
	return batch, 0, l.closed
}

func (l *Ledger) commit(batch []*op) {
	begun := batch[:0]
	for _, o := range batch {
		if err := o.ctx.Err(); err != nil && o.state.CompareAndSwap(opWaiting, opDropped) {
			o.finish(err)
		} else if o.state.CompareAndSwap(opWaiting, opBegun) {
			begun = append(begun, o)
		}
	}
	if len(begun) == 0 {
		return
	}
	err := l.try(begun, maxConflicts)
	if err != nil && len(begun) > 1 && !errors.Is(err, ErrUnavailable) {
		l.log.Warn("commit failed, doing its members one by one", "members", len(begun), "err", err)
		begun, err = l.apart(begun)
	}
	if err == nil {
		return
	}
	if errors.Is(err, ErrUnavailable) {
		l.failing.Store(&failing{since: time.Now(), err: err})
	}
	for _, o := range begun {
		o.finish(err)
	}
}

// apart commits ops one by one, so that only the guilty one sees its error. Once
// the database is unavailable it returns that error and the ops that are left:
// each of them would take as long as the first to find out.
func (l *Ledger) apart(ops []*op) (left []*op, err error) {
	for i := range ops {
		err := l.try(ops[i:i+1], conflictsApart)
		switch {
		case err == nil:
		case errors.Is(err, ErrUnavailable):
			return ops[i:], err
		default:
			ops[i].finish(err)
		}
	}
	return nil, nil
}

const (
	// maxConflicts is how often a commit is done again because another process
	// was in its way. Each time that one got further, so few are ever needed.
	maxConflicts = 10
	// conflictsApart is the same for one op after a commit with others that had
	// met so many: what is in its way now is in the database to stay.
	conflictsApart = 3
	// conflictsFor bounds the same in time: some conflicts are seconds of
	// waiting for a lock.
	conflictsFor = 10 * time.Second
	// firstPause is how long the pause after the first conflict is at most.
	// The next ones double, up to maxPause. Chance keeps two processes from
	// meeting again.
	firstPause = 4 * time.Millisecond
	maxPause   = 200 * time.Millisecond
)

// try commits ops and finishes them, or returns an error and finishes none. It
// is ErrConflict if another process seems to be in the way for good: of one of
// the ops, if there are several. A single op that waited so long for a lock gets
// ErrUnavailable, since others would wait for it as well.
func (l *Ledger) try(ops []*op, conflicts int) error {
	began := time.Now()
	pause := firstPause
	for n := 1; ; n++ {
		err := l.attempt(ops)
		long := time.Since(began) > conflictsFor
		switch {
		case !errors.Is(err, ErrConflict):
			return err
		case long && len(ops) == 1:
			return fmt.Errorf("%w: gave up after %d conflicts: %w", ErrUnavailable, n, err)
		case long || n == conflicts:
			return fmt.Errorf("gave up after %d conflicts: %w", n, err)
		}
		l.log.Debug("commit is done again", "conflicts", n, "err", err)
		<-time.After(rand.N(pause))
		pause = min(2*pause, maxPause)
	}
}

// attempt is one transaction of try.
func (l *Ledger) attempt(ops []*op) error {
	began := time.Now()
	u := newUnit(l)
	outcomes := make([]error, len(ops))
	err := l.driver.Update(context.Background(), func(tx Tx) error {
		u.tx = tx
		if err := u.load(ops); err != nil {
			return err
		}
		for i, o := range ops {
			outcome, abort := o.safeApply(u)
			if abort != nil {
				return abort
			}
			outcomes[i] = outcome
		}
		return u.flush()
	})
	if err != nil {
		return err
	}
	if l.observe != nil && u.wrote {
		l.observe(time.Since(began).Seconds())
	}
	if !ops[0].careless || len(ops) > 1 {
		l.failing.Store(nil)
	}
	if l.baked != nil {
		for _, ms := range u.bakedIn {
			l.baked(float64(max(ms, 0)) / 1000)
		}
	}
	l.announce(u)
	for i, o := range ops {
		o.finish(outcomes[i])
	}
	return nil
}

// safeApply turns a panic of one op into its error, since the writer serves all.
func (o *op) safeApply(u *unit) (outcome, abort error) {
	defer func() {
		if r := recover(); r != nil {
			u.l.log.Error("panic in a ledger write", "panic", r, "stack", string(debug.Stack()))
			abort = fmt.Errorf("ledger: panic in a write: %v", r)
		}
	}()
	return o.apply(u)
}
