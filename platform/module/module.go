// Package module says what a module is: a unit that --modules selects. The
// assembly in platform/app starts modules from a list and knows none of them.
package module

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/config"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/idempotency"
	"github.com/pizzamill/pizzamill/platform/store"
	"github.com/pizzamill/pizzamill/platform/telemetry"
)

// Module is one unit of the monolith.
type Module struct {
	// Name is what --modules calls it, and its consumer group.
	Name string
	// Stage is true for modules that add an ingredient. Only those in the
	// pipeline are started; all others always are.
	Stage bool
	// Ledger is true for modules that read or write the ledger.
	Ledger bool
	// Main is true for modules that the main listener opens for.
	Main bool
	// Consumes and Produces list the topics of a pipeline that the module reads
	// and writes; nil is none.
	Consumes, Produces func(event.Pipeline) []string
	// Start registers handlers, routes and background work with env and
	// returns at once. Nothing runs before every module has started.
	Start func(env *Env) error
}

// Outage is a broker that carries no messages.
type Outage struct {
	Since   time.Time
	Refuses bool // it can be reached, and takes none
}

// Env is what a module gets to stand on. It is shared by all modules of the process.
type Env struct {
	Config   config.Config
	Pipeline event.Pipeline
	Log      *slog.Logger
	Metrics  *telemetry.Metrics
	Bus      bus.Bus
	Router   *message.Router
	Ledger   *store.Ledger  // nil if no module of this process has Ledger set
	Main     *http.ServeMux // nil if no module of this process has Main set
	Admin    *http.ServeMux
	// Records returns where a stage keeps the events that it has processed.
	Records func(stage string) idempotency.Records

	// Outage returns why messages do not move now, nil while they do. It asks
	// nobody. On an in-memory bus it is always nil.
	Outage func() *Outage

	// Source runs fn until shutdown begins: what brings new work onto the bus.
	// It is stopped first. An error from fn before that ends the process.
	Source func(name string, fn func(ctx context.Context) error)
	// Consumer is for what reads the bus without the Router. begin subscribes and
	// returns at once; it is called when the process is on the ledger's bus, and
	// before anything is published. run then runs until everything on an
	// in-memory bus is worked off and the Router has closed.
	Consumer func(name string, begin func() (run func(ctx context.Context) error, err error))
}
