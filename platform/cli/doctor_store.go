package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/module"
	"github.com/pizzamill/pizzamill/platform/pg"
	"github.com/pizzamill/pizzamill/platform/store"
)

const (
	// recountTimeout bounds the reading of the whole ledger.
	recountTimeout = 5 * time.Minute
	// maxSkew is how far two clocks may be apart before doctor says so.
	maxSkew = time.Second
	// maxDifferences is how many differences of a recount are shown.
	maxDifferences = 10
)

func (d *doctor) examineStore(ctx context.Context) {
	if !slices.ContainsFunc(d.modules, func(m module.Module) bool { return m.Ledger && d.Selects(m.Name) }) {
		d.add("store", fine, "", "no module of this process uses the ledger")
		return
	}
	openCtx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	l, closeLedger, err := d.readLedger(openCtx, d.line)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.add("store", warn, "pizzamill serve makes it", "there is no database yet at %s", d.Store.Path)
		return
	case ledgerAway(err):
		d.unreachable("store", "start it, or correct the [store] section", err)
		return
	case err != nil:
		d.add("store", failed, "", "%v", err)
		return
	}
	defer closeLedger()
	where := d.Store.Path
	if d.Store.Driver == "postgres" {
		where = "[store] dsn"
	}
	d.add("store", fine, "", "%s (%s), with the tables of this version", d.Store.Driver, where)
	d.examineLedgerBus(ctx, l)
	d.examineProcesses(ctx, l)
	d.examineCounters(ctx, l)
	if d.Store.Driver == "postgres" {
		d.examineDatabaseClock(ctx)
	}
}

func (d *doctor) examineDatabaseClock(ctx context.Context) {
	d.examineClock(ctx, "clock", "the database's", func(ctx context.Context) (time.Time, time.Duration, error) {
		db, err := d.askPostgres(ctx, "[store] dsn", d.Store.DSN)
		return db.now, 0, err
	})
}

// examineLedgerBus compares the ledger's bus and pipeline with the configured ones.
func (d *doctor) examineLedgerBus(ctx context.Context, l ledger) {
	current, err := ask(ctx, l.Bus)
	if err != nil {
		d.unreachable("ledger", "", err)
		return
	}
	buses, err := ask(ctx, l.Buses)
	if err != nil {
		d.unreachable("ledger", "", err)
		return
	}
	inMemory := strings.HasPrefix(current, "gochannel/")
	switch {
	case current == "":
		d.add("ledger", fine, "", "on no bus yet")
	case inMemory && !d.OnBroker():
		d.add("ledger", fine, "", "on the memory of a process: open orders start again with each start")
	case d.OnBroker() && d.identity == "":
		d.add("ledger", warn, "", "on bus %s; whether that is the configured one only the broker can tell", current)
	case current == d.identity:
		d.add("ledger", fine, "", "on the configured bus")
	default:
		d.add("ledger", warn, "pizzamill serve takes it over once no process lives on that bus; open orders start again then",
			"on bus %s, which is not the configured one", current)
	}
	want := d.Pipeline.Stages
	if i := slices.IndexFunc(buses, func(b store.Bus) bool { return d.identity != "" && b.Identity == d.identity }); i >= 0 && !slices.Equal(buses[i].Stages, want) {
		conflict := &bus.PipelineError{Bus: d.identity, Have: strings.Join(buses[i].Stages, ","), Want: strings.Join(want, ",")}
		d.add("pipeline", failed, "set another [bus] prefix", "%v", conflict)
		return
	}
	d.add("pipeline", fine, "", "%s", strings.Join(want, " → "))
}

func (d *doctor) examineProcesses(ctx context.Context, l ledger) {
	processes, err := ask(ctx, l.Processes)
	if err != nil {
		d.unreachable("processes", "", err)
		return
	}
	var alive, elsewhere, dead []string
	for _, p := range processes {
		switch {
		case !p.Alive:
			dead = append(dead, fmt.Sprintf("%s, heard of last at %s", p.Name, p.RenewedAt.UTC().Format(time.RFC3339)))
		case d.identity != "" && p.Bus != d.identity:
			elsewhere = append(elsewhere, fmt.Sprintf("%s, on bus %s", p.Name, p.Bus))
		default:
			alive = append(alive, p.Name)
		}
	}
	if len(alive) > 0 {
		d.add("processes", fine, "", "alive on the ledger:\n%s", strings.Join(alive, "\n"))
	} else {
		d.add("processes", warn, "pizzamill serve starts one", "none lives that uses the ledger")
	}
	if len(elsewhere) > 0 {
		d.add("processes", warn, "stop them", "alive on another bus than the configured one:\n%s", strings.Join(elsewhere, "\n"))
	}
	if len(dead) > 0 {
		d.add("processes", warn, "see their logs", "ended without saying so:\n%s", strings.Join(dead, "\n"))
	}
}

func (d *doctor) examineCounters(ctx context.Context, l ledger) {
	ctx, cancel := context.WithTimeout(ctx, recountTimeout)
	defer cancel()
	differences, err := l.Recount(ctx)
	switch {
	case err != nil:
		d.unreachable("counters", "", err)
	case len(differences) > 0:
		shown := differences[:min(len(differences), maxDifferences)]
		d.add("counters", failed, "keep a copy of the database and report this: the rows are right, the counters are not",
			"%d differ from the rows:\n%s", len(differences), strings.Join(shown, "\n"))
	default:
		d.add("counters", fine, "", "agree with the rows")
	}
}

// examineClock compares this machine's clock with another one. ask returns what
// that one shows, and how much less than the truth that may be.
func (d *doctor) examineClock(ctx context.Context, check, whose string, ask func(context.Context) (time.Time, time.Duration, error)) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	before := time.Now()
	there, rounded, err := ask(ctx)
	if err != nil {
		d.unreachable(check, "", err)
		return
	}
	// The other clock was read at some time between question and answer.
	skew := time.Duration(0)
	if after := time.Now(); there.After(after) {
		skew = there.Sub(after)
	} else if latest := there.Add(rounded); latest.Before(before) {
		skew = before.Sub(latest)
	}
	if skew > maxSkew {
		d.add(check, warn, "let both machines keep time by NTP: times of events are each machine's own, leases run by the database's",
			"this machine's and %s are %s apart", whose, skew.Round(time.Millisecond))
		return
	}
	d.add(check, fine, "", "this machine's and %s agree to within %s", whose, maxSkew)
}

// examineRecords looks at the table of processed events.
func (d *doctor) examineRecords(ctx context.Context) {
	if d.Idempotency.Driver != "postgres" {
		d.add("records", fine, "", "of processed events: in the memory of each process of stages")
		return
	}
	key := "[idempotency] dsn"
	if !d.IsSet("idempotency.dsn") {
		key = "[store] dsn"
	}
	db, err := ask(ctx, func(ctx context.Context) (database, error) {
		return d.askPostgres(ctx, key, d.Idempotency.DSN)
	})
	switch {
	case err != nil && pg.Unavailable(err):
		d.unreachable("records", "start the database, or correct "+key, err)
	case err != nil:
		d.add("records", failed, "correct "+key, "%v", err)
	case !db.records:
		d.add("records", warn, "a process of stages makes it when it starts", "the table of processed events is not there yet")
	default:
		d.add("records", fine, "", "of processed events: in their table")
	}
}
