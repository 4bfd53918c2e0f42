package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

const (
	// RenewEvery is how often a process is to renew its row.
	RenewEvery = 5 * time.Second
	// ProcessLife is how long a process that does not renew its row counts as alive.
	ProcessLife = 6 * RenewEvery
)

// keepProcess is how long the row of a process is kept that did not remove it,
// so that one can see what died.
const keepProcess = 24 * time.Hour

// Process is a process that works on the ledger.
type Process struct {
	ID   string // new with every process
	Name string // for people: where it runs
	Bus  string // identity of the bus that it is on, see bus.Bus
	// Driver and Prefix are those of the bus.
	Driver, Prefix string
	// Alone is true if the process holds a lock that one process has at a time:
	// leases, and rows of others that held it, are then those of the dead.
	Alone bool
}

// self is this process as it last called Start.
type self struct {
	Process
	started bool // and that succeeded: the ledger came to its bus
}

// contact is since when a process that wants to take the ledger over has had the
// rows of the bus that it is on in sight. While the database is away nobody can
// renew a row, and all run out at once. So a row that has run out proves a death
// only to who could reach the database meanwhile, or has given the living the
// time to renew theirs.
type contact struct {
	bus         string
	since, last int64 // by the database's clock
}

// proves notes that the rows of a bus are in sight, and reports whether they
// have been for long enough, without a pause in which they could have run out.
func (c *contact) proves(bus string, now int64, aliveFor time.Duration) bool {
	life := aliveFor.Milliseconds()
	if c.bus != bus || now-c.last > life/3 {
		c.bus, c.since = bus, now
	}
	c.last = now
	return now-c.since >= life/2
}

// enter writes the process's row and returns the names of the others that live
// on a bus, or may live there. Rows of those long dead go.
func (u *unit) enter(p *Process, bus string, now int64) (alive []string, err error) {
	rows, err := u.tx.Processes()
	if err != nil {
		return nil, fmt.Errorf("load processes: %w", err)
	}
	proves := u.l.contact.proves(bus, now, u.l.aliveFor)
	for i := range rows {
		r := &rows[i]
		switch {
		case r.ID == p.ID:
		case r.Alone && p.Alone, r.RenewedAt <= now-keepProcess.Milliseconds():
			u.processes[r.ID] = nil
		case r.Bus == bus && (u.l.alive(r, now) || !proves):
			alive = append(alive, r.Name)
		}
	}
	u.renew(p, now)
	return alive, nil
}

func (u *unit) renew(p *Process, now int64) {
	u.processes[p.ID] = &ProcessRow{ID: p.ID, Name: p.Name, Bus: p.Bus, Alone: p.Alone, RenewedAt: now}
}

func (l *Ledger) alive(r *ProcessRow, now int64) bool {
	return r.RenewedAt > now-l.aliveFor.Milliseconds()
}

// Renew renews the process's row, or writes it again if it is gone; it is to be
// called every RenewEvery. ErrLeftBehind means that
// the ledger is on another bus by now; the row is renewed all the same.
func (l *Ledger) Renew(ctx context.Context) error {
	return l.do(&op{
		ctx:     ctx,
		weight:  1,
		patient: true,
		apply: func(u *unit) (outcome, abort error) {
			s := u.l.self.Load()
			if s == nil { // Leave came first
				return errNotStarted, nil
			}
			now, err := u.now()
			if err != nil {
				return nil, err
			}
			u.renew(&s.Process, now)
			return u.onItsBus()
		},
	})
}

// Leave removes the process's row, so that nobody waits for the process. It is
// to be called at shutdown; nothing can be leased after it.
func (l *Ledger) Leave(ctx context.Context) error {
	s := l.self.Swap(nil)
	if s == nil {
		return nil
	}
	return l.do(&op{
		ctx:    ctx,
		weight: 1,
		apply: func(u *unit) (outcome, abort error) {
			u.processes[s.ID] = nil
			return nil, nil
		},
	})
}

var errNotStarted = fmt.Errorf("%w: the process has not started on the ledger", ErrLeftBehind)

// onItsBus returns ErrLeftBehind as outcome unless the ledger is on the bus that
// the process has started on.
func (u *unit) onItsBus() (outcome, abort error) {
	s := u.l.self.Load()
	if s == nil || !s.started {
		return errNotStarted, nil
	}
	bus, err := u.bus()
	if err != nil {
		return nil, err
	}
	if bus != s.Bus {
		return fmt.Errorf("%w: the ledger is on %s, this process on %s", ErrLeftBehind, bus, s.Bus), nil
	}
	return nil, nil
}

func (u *unit) now() (int64, error) {
	now, err := u.tx.Now()
	if err != nil {
		return 0, fmt.Errorf("read the database's clock: %w", err)
	}
	return now, nil
}

// flushProcesses adds what changed of processes and buses.
func (u *unit) flushProcesses(c *Changes) {
	for _, id := range slices.Sorted(maps.Keys(u.processes)) {
		if row := u.processes[id]; row != nil {
			c.Processes = append(c.Processes, row)
		} else {
			c.GoneProcess = append(c.GoneProcess, id)
		}
	}
	for _, row := range u.buses {
		c.Buses = append(c.Buses, row)
	}
}

// ProcessState is a process that the ledger knows of.
type ProcessState struct {
	ID, Name  string
	Bus       string // identity of the bus that it is on
	RenewedAt time.Time
	Alive     bool // it has renewed its row lately
}

// Processes returns the processes that work on the ledger, by ID, and for a day
// those that ended without removing their row.
func (l *Ledger) Processes(ctx context.Context) (processes []ProcessState, err error) {
	err = l.driver.View(ctx, func(tx ReadTx) error {
		now, err := tx.Now()
		if err != nil {
			return fmt.Errorf("read the database's clock: %w", err)
		}
		rows, err := tx.Processes()
		if err != nil {
			return fmt.Errorf("load processes: %w", err)
		}
		for i := range rows {
			r := &rows[i]
			processes = append(processes, ProcessState{
				ID: r.ID, Name: r.Name, Bus: r.Bus, RenewedAt: fromMillis(r.RenewedAt), Alive: l.alive(r, now),
			})
		}
		return nil
	})
	return processes, err
}
