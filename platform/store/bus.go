package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pizzamill/pizzamill/platform/bus"
)

// OtherBusError says that the ledger is on another bus, on which processes live.
type OtherBusError struct {
	Bus       string   // identity of the bus that the ledger is on
	Processes []string // names of those that live on it, or may: see Start
}

func (e *OtherBusError) Error() string {
	return fmt.Sprintf("the ledger is on bus %s, on which live: %s; it is taken over once they have stopped, or not been heard of for a while",
		e.Bus, strings.Join(e.Processes, ", "))
}

// Start makes the ledger that of the process's bus. It writes the process's
// row, which Renew keeps alive and Leave removes.
//
// If the ledger is on another bus, and a process lives there, the error is an
// *OtherBusError: call it again within RenewEvery. One whose row has run out may
// live as well, if the database was away meanwhile: that it is dead is believed
// after half a ProcessLife of such calls in a row. Else the ledger comes to this bus, and
// all open orders start again, for their pizzas that are neither complete nor
// dead-lettered. If the bus has carried another pipeline, the error is a
// *bus.PipelineError, which is final, and nothing is written.
//
// A process whose bus has become another one calls it again. Until a call has
// succeeded nothing can be leased.
func (l *Ledger) Start(ctx context.Context, p Process) error {
	l.self.Store(&self{Process: p})
	err := l.do(&op{
		ctx:    ctx,
		weight: 1,
		need:   func(n *needs) { n.bus = decideBus },
		apply:  func(u *unit) (outcome, abort error) { return u.start(&p) },
	})
	if err == nil {
		l.self.Store(&self{Process: p, started: true})
	}
	return err
}

func (u *unit) start(p *Process) (outcome, abort error) {
	now, err := u.now()
	if err != nil {
		return nil, err
	}
	was, err := u.bus()
	if err != nil {
		return nil, err
	}
	known, err := u.knownBus(p.Bus)
	if err != nil {
		return nil, err
	}
	row := &BusRow{Identity: p.Bus, Driver: p.Driver, Prefix: p.Prefix, Pipeline: strings.Join(u.l.pipeline.Stages(), ","), StartedAt: now}
	if known != nil && known.Pipeline != row.Pipeline {
		return &bus.PipelineError{Bus: p.Bus, Have: known.Pipeline, Want: row.Pipeline}, nil
	}
	alive, err := u.enter(p, was, now)
	if err != nil {
		return nil, err
	}
	if was != p.Bus && len(alive) > 0 {
		return &OtherBusError{Bus: was, Processes: alive}, nil
	}
	if (was != p.Bus || known == nil) && p.remembered() {
		u.buses[p.Bus] = row
	}
	u.meta[metaBus] = p.Bus
	if was == p.Bus && !p.Alone {
		return nil, nil // leases are those of the living
	}
	return nil, u.restart(was, p.Bus)
}

// remembered reports whether something of the bus outlives its processes.
func (p *Process) remembered() bool { return p.Driver != "gochannel" }

// restart voids all leases and, if the bus is another one than before, makes the
// open orders start again: from their first number, without what is done.
func (u *unit) restart(was, bus string) error {
	open, err := u.tx.Open()
	if err != nil {
		return fmt.Errorf("load open orders: %w", err)
	}
	for i := range open {
		o := u.adopt(&open[i])
		if was != bus && !breakRestart {
			o.Dispatched, o.DoneAhead = 0, o.Done()
			o.dirty = true
		}
		if o.LeaseToken != "" {
			o.LeaseToken, o.LeaseUntil = "", 0
			o.dirty = true
		}
	}
	u.started = true
	if was != "" && was != bus && len(open) > 0 {
		u.l.log.Info("open orders start again: they were on another bus", "orders", len(open), "was", was, "bus", bus)
	}
	return nil
}

// bus returns the identity of the bus that the ledger is on, "" if it is on none.
func (u *unit) bus() (string, error) {
	if bus, ok := u.meta[metaBus]; ok { // it came there in this commit
		return bus, nil
	}
	bus, err := u.tx.Meta(metaBus)
	if err != nil {
		return "", fmt.Errorf("look up the ledger's bus: %w", err)
	}
	return bus, nil
}

// knownBus returns what the ledger remembers of a bus, nil if nothing.
func (u *unit) knownBus(identity string) (*BusRow, error) {
	if row := u.buses[identity]; row != nil {
		return row, nil
	}
	rows, err := u.tx.Buses()
	if err != nil {
		return nil, fmt.Errorf("load buses: %w", err)
	}
	i := slices.IndexFunc(rows, func(r BusRow) bool { return r.Identity == identity })
	if i < 0 {
		return nil, nil
	}
	return &rows[i], nil
}

// Bus returns the identity of the bus that the ledger is on, "" before the first Start.
func (l *Ledger) Bus(ctx context.Context) (identity string, err error) {
	err = l.driver.View(ctx, func(tx ReadTx) error {
		if identity, err = tx.Meta(metaBus); err != nil {
			return fmt.Errorf("look up the ledger's bus: %w", err)
		}
		return nil
	})
	return identity, err
}

// Bus is a broker's bus that the ledger is on, or was.
type Bus struct {
	Identity       string
	Driver, Prefix string
	Stages         []string  // of its pipeline
	StartedAt      time.Time // when the ledger came to it last
	Current        bool      // the ledger is on it
}

// Buses returns the brokers' buses that the ledger is on or was, by identity.
// Nothing is remembered of in-memory ones.
func (l *Ledger) Buses(ctx context.Context) (buses []Bus, err error) {
	err = l.driver.View(ctx, func(tx ReadTx) error {
		current, err := tx.Meta(metaBus)
		if err != nil {
			return fmt.Errorf("look up the ledger's bus: %w", err)
		}
		rows, err := tx.Buses()
		if err != nil {
			return fmt.Errorf("load buses: %w", err)
		}
		for _, r := range rows {
			buses = append(buses, Bus{
				Identity: r.Identity, Driver: r.Driver, Prefix: r.Prefix, Stages: strings.Split(r.Pipeline, ","),
				StartedAt: fromMillis(r.StartedAt), Current: r.Identity == current,
			})
		}
		return nil
	})
	return buses, err
}
