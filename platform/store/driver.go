package store

import (
	"context"
	"errors"
)

// ErrUnavailable is wrapped by a driver's errors that say nothing about what
// was asked: the database is away, locked, full or read-only. Everybody in a
// commit that fails so gets the error; after any other error the members of
// the commit are done again one by one, so that only the guilty one sees it.
var ErrUnavailable = errors.New("database is unavailable")

// ErrConflict is wrapped by the error of a transaction that another process got
// in the way of: a deadlock, a row that both inserted. Nothing was written, and
// the commit is done again as it is. If that does not end, its members are done
// one by one, and a caller gets the error whose own rows are in the way: those
// of an order, say, that were restored from different times.
var ErrConflict = errors.New("another process was in the way")

// Driver is a database that can hold the ledger. It keeps rows and knows no
// rule of the ledger. All times in rows are milliseconds since 1970 UTC, and 0
// is none.
type Driver interface {
	// Update runs fn in one transaction and returns once it is synced to disk.
	// If fn returns an error, nothing is written and Update returns that error.
	// The ledger calls it from one goroutine at a time.
	Update(ctx context.Context, fn func(Tx) error) error
	// View runs fn on a consistent snapshot. A transaction that writes does not
	// keep it waiting. fn must not keep the ReadTx.
	View(ctx context.Context, fn func(ReadTx) error) error
	// Close frees what the driver holds. Nothing may be running.
	Close() error
}

// ReadTx reads rows. Every slice it returns belongs to the caller. What does
// not exist is left out and is no error.
type ReadTx interface {
	// Orders returns orders by ID, in any order. Inside Update it locks them,
	// in the order of their IDs, until the end of the transaction.
	Orders(ids []string) ([]OrderRow, error)
	// OrdersBefore returns up to limit orders by descending ID, those below
	// before ("": from the newest).
	OrdersBefore(before string, limit int) ([]OrderRow, error)
	// OldestOpen returns when the oldest order was placed that has a pizza
	// which is neither complete nor dead-lettered, or 0.
	OldestOpen() (createdAt int64, err error)

	// Pizzas returns pizzas by key, in any order.
	Pizzas(keys []PizzaKey) ([]PizzaRow, error)
	// PizzasAfter returns up to limit rows of an order by ascending number,
	// those above after, of one status ("": of any).
	PizzasAfter(order int64, after, limit int, status Status) ([]PizzaRow, error)
	// Done returns the numbers above after and up to last of the pizzas of an
	// order that are complete or dead-lettered, ascending.
	Done(order int64, after, last int) ([]int, error)
	// CountDone returns how many numbers Done has, at a fraction of its cost.
	CountDone(order int64, after, last int) (int, error)

	// Facts returns events by key, in any order.
	Facts(keys []FactKey) ([]FactRow, error)
	// FactsAfter returns up to limit events of an order by ascending number,
	// those above after.
	FactsAfter(order, after int64, limit int) ([]FactRow, error)

	// Letter returns a dead letter. Inside Update it locks it.
	Letter(id string) (DeadLetter, bool, error)
	// LettersAfter returns up to limit letters without their bodies, by first
	// failure and then ID, those behind the letter after ("": from the first).
	LettersAfter(f LetterFilter, after string, limit int) ([]DeadLetter, error)

	// Key returns an idempotency key.
	Key(key string) (KeyRow, bool, error)
	// Totals returns every named total.
	Totals() (map[string]int64, error)
	// Meta returns a named value, "" if it was never set. Inside Update it is
	// read as it is committed at this moment, whenever the transaction began.
	Meta(name string) (string, error)

	// Processes returns every process that has a row, by ID.
	Processes() ([]ProcessRow, error)
	// Buses returns every broker's bus that the ledger was on, by identity.
	Buses() ([]BusRow, error)
	// Now is the database's clock, by which leases and processes live.
	Now() (int64, error)
}

// Tx reads and writes.
type Tx interface {
	ReadTx

	// Ready returns up to limit orders that can be leased at now, by ascending
	// turn: see OrderRow.Ready. It locks none of them, and leaves none out that
	// another transaction has locked: under load somebody always has a busy
	// order, and it would hardly ever be leased.
	Ready(now int64, limit int) ([]OrderRow, error)
	// LastTurn returns the greatest turn of all orders with numbers to
	// dispatch, 0 if there are none.
	LastTurn() (int64, error)
	// Open locks and returns all orders with a pizza that is neither complete
	// nor dead-lettered.
	Open() ([]OrderRow, error)
	// LockBus makes the transaction wait until no other one that called it or
	// ShareBus runs, so that one process at a time decides which bus the ledger
	// is on, and nobody leases meanwhile. It comes before all else that locks.
	LockBus() error
	// ShareBus makes the transaction wait until no other one that called LockBus
	// runs, and those that call it wait for this one: the bus that the ledger is
	// on stays to the end of the transaction. It comes before all else that locks.
	ShareBus() error
	// Write writes rows in bulk. It keeps nothing of c.
	Write(c *Changes) error
}

// Changes are the rows that one commit writes. No row is in it twice.
type Changes struct {
	NewOrders   []*OrderRow // inserted; Seq is the driver's to choose
	Orders      []*OrderRow // updated, except ID, Count and CreatedAt
	Pizzas      []*PizzaRow // inserted or replaced, by order and number
	NewFacts    []*FactRow  // inserted, by order and event; one that exists is an error
	FilledFacts []*FactRow  // Source and Body of existing ones
	Letters     []*DeadLetter
	NewKeys     []*KeyRow
	Processes   []*ProcessRow // inserted or replaced, by ID
	GoneProcess []string      // IDs, deleted
	Buses       []*BusRow     // inserted or replaced, by identity
	// ForgetKeys deletes some of the idempotency keys older than this, if not 0.
	ForgetKeys int64
	// Totals are added to, Meta is set.
	Totals map[string]int64
	Meta   map[string]string
}

// Limits of the relay.
const (
	// Window is how many pizzas of one order are in flight at most.
	Window = 4096
	// ChunkSize is how many numbers of one order a lease has at most.
	ChunkSize = 256
)

// OrderRow is an order as the database has it.
type OrderRow struct {
	Seq        int64 // short key of the order's other rows
	ID         string
	Count      int
	Dispatched int // numbers up to here have been put on the bus
	// DoneAhead counts the complete and dead-lettered pizzas numbered above Dispatched.
	DoneAhead    int
	Completed    int
	DeadLettered int
	CreatedAt    int64
	CompletedAt  int64 // of the pizza that was completed last so far
	LastEvent    int64 // stream number drawn last
	// Progress has, for each step the order has met, how many of its pizzas
	// have that step or are complete. Steps that left the pipeline stay.
	Progress   []StepCount
	LeaseToken string
	LeaseUntil int64
	Turn       int64 // whose turn it is: lowest first
}

// Done is how many pizzas are complete or dead-lettered.
func (o *OrderRow) Done() int { return o.Completed + o.DeadLettered }

// InFlight is how many pizzas are on the bus and not done.
func (o *OrderRow) InFlight() int { return o.Dispatched - (o.Done() - o.DoneAhead) }

// Undispatched is how many pizzas are neither on the bus nor done.
func (o *OrderRow) Undispatched() int { return o.Count - o.Dispatched - o.DoneAhead }

// HasRoom reports whether there is something to dispatch and the window has
// room for a whole chunk of it, so that a busy order is not dispatched one by one.
func (o *OrderRow) HasRoom() bool {
	left := o.Count - o.Dispatched
	return left > 0 && Window-o.InFlight() >= min(ChunkSize, left)
}

// Ready reports whether the order can be leased: it has room and nobody's
// lease is running.
func (o *OrderRow) Ready(now int64) bool { return o.HasRoom() && o.LeaseUntil <= now }

// PizzaKey is the key of a pizza's row.
type PizzaKey struct {
	Order  int64
	Number int
}

// PizzaRow is a pizza as the database has it, from its first fact on.
type PizzaRow struct {
	PizzaKey
	Status Status
	Steps  []StepState // in the order of their stream numbers
	// BodyEvent is the event whose body is the pizza's, 0 before the first.
	BodyEvent   int64
	CompletedAt int64
	Letter      string // ID of the letter that it was dead-lettered for
}

// StepState is one step that a pizza has reached.
type StepState struct {
	Name     string
	Event    int64 // stream number
	At       int64 // of its own event, as it came; of the later one while inferred
	Inferred bool
}

// FactKey is the key of an event's row: the order and the number in its stream.
type FactKey struct {
	Order int64
	Event int64
}

// FactRow is one event of an order's stream. The times of steps are in the
// pizza's row, since a step's time may still rise.
type FactRow struct {
	FactKey
	Number int
	Kind   EventKind
	Step   string // of kind dispatched and stage
	Source string // module that made it; of kind dead_letter: that failed
	// Body is the event's. Of kind complete it is set only if it differs from
	// the last step's; of kind dead_letter it is the error's text.
	Body []byte
	At   int64 // of kind dead_letter
}

// KeyRow is an idempotency key.
type KeyRow struct {
	Key       string
	Order     string
	Count     int
	CreatedAt int64
}

// ProcessRow is a process that works on the ledger.
type ProcessRow struct {
	ID        string // new with every process
	Name      string // for people: where it runs
	Bus       string // identity of the bus that it is on
	Alone     bool   // see Process
	RenewedAt int64  // by the database's clock
}

// BusRow is a broker's bus that the ledger is on, or was. An in-memory bus has
// none: nothing of it is left once its process has ended.
type BusRow struct {
	Identity  string
	Driver    string
	Prefix    string
	Pipeline  string // its stages, comma-separated
	StartedAt int64  // when the ledger came to it last, by the database's clock
}
