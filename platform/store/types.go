package store

import (
	"errors"
	"time"

	"github.com/pizzamill/pizzamill/platform/event"
)

// Errors that callers tell apart. They are wrapped with the noun they are about.
var (
	// ErrNotFound: no such order, pizza or dead letter.
	ErrNotFound = errors.New("not found")
	// ErrKeyReused: the idempotency key came before, with another count.
	ErrKeyReused = errors.New("idempotency key was used with another count")
	// ErrLeaseLost: the lease of a chunk ran out and another relay has the order.
	ErrLeaseLost = errors.New("lease lost")
	// ErrLeftBehind: the ledger is not on the bus that this process is on.
	ErrLeftBehind = errors.New("left behind on another bus")
	// ErrClosed: the ledger is closed.
	ErrClosed = errors.New("ledger is closed")
)

// Status of an order or a pizza.
type Status string

// Statuses. An order is cooking, complete or partial; a pizza is cooking,
// complete or dead_lettered.
const (
	Cooking      Status = "cooking"
	Complete     Status = "complete"
	Partial      Status = "partial"
	DeadLettered Status = "dead_lettered"
)

// StepCount is how many pizzas are past a step.
type StepCount struct {
	Step  string
	Count int
	// Dead is how many of them are dead-lettered and got no further: the module
	// that consumes the step's topic failed.
	Dead int
}

// Order is N random pizzas asked for in one request.
type Order struct {
	ID           string
	Count        int
	Completed    int
	DeadLettered int
	Dispatched   int // numbers up to here have been put on the bus
	CreatedAt    time.Time
	CompletedAt  time.Time   // zero until complete
	Progress     []StepCount // in pipeline order, StepPizza first
	LastEvent    int64       // number of the newest stream event, 0 before the first
}

// Status is Complete when all pizzas are, Partial when none is in flight any
// more and some are dead-lettered, else Cooking.
func (o Order) Status() Status {
	switch {
	case o.Completed == o.Count:
		return Complete
	case o.Completed+o.DeadLettered >= o.Count:
		return Partial
	default:
		return Cooking
	}
}

// Step is one step that a pizza has reached.
type Step struct {
	Name string
	At   time.Time
	// Inferred is true while only a later event implies this step. Its time is
	// then that of the later one.
	Inferred bool
}

// Pizza is one pizza of an order. Numbers 1 to the order's count exist from
// the order on: without a fact they are cooking and have no steps.
type Pizza struct {
	ID          event.PizzaID
	Status      Status
	Steps       []Step    // reached so far, in pipeline order
	Body        []byte    // of the furthest step, nil before the first
	CompletedAt time.Time // zero until complete
	Failure     *Failure  // set while Status is DeadLettered
}

// Stage is the last stage done, "" before the first.
func (p Pizza) Stage() string {
	if n := len(p.Steps); n > 0 && p.Steps[n-1].Name != event.StepPizza {
		return p.Steps[n-1].Name
	}
	return ""
}

// Failure says where a pizza was dead-lettered.
type Failure struct {
	LetterID string
	Module   string
	Error    string
	Attempts int
	At       time.Time // of the last attempt
}

// Fact says that a pizza reached a step. Writing the same one again changes nothing.
type Fact struct {
	Pizza  event.PizzaID
	Step   string
	At     time.Time
	Source string // the module that made the event; "" if unknown
	Body   []byte // a body that event.Parse accepts
	Replay int    // 0, or the replay it belongs to
}

// JournalEntry is one event of a pizza as the journal has it.
type JournalEntry struct {
	ID     string // event.ID
	Topic  string
	At     time.Time
	Source string // "" for an inferred one, and where the event had none
	// Inferred is true while only a later event implies this one, see Step.
	Inferred bool
	Replay   int
	Body     []byte
}

// EventKind is what a stream event tells.
type EventKind string

// Kinds of stream events.
const (
	EventDispatched EventKind = "dispatched"
	EventStage      EventKind = "stage"
	EventComplete   EventKind = "complete"
	EventDeadLetter EventKind = "dead_letter"
)

// StreamEvent is one numbered event of an order's stream. Numbers start at 1
// and have no gap.
type StreamEvent struct {
	Seq    int64
	Kind   EventKind
	Pizza  event.PizzaID
	At     time.Time
	Step   string // EventStage: the stage
	Value  string // EventStage: its ingredient
	Module string // EventDeadLetter
	Error  string // EventDeadLetter
	Done   *Pizza // EventComplete: the pizza
}

// Totals are the counts over all orders, from one transaction.
type Totals struct {
	Ordered      int64
	Completed    int64
	DeadLettered int64
	Undispatched int64 // ordered, and neither put on the bus nor done
	Passed       []StepCount
	// OldestInFlight is when the oldest order with a pizza in flight was taken; zero if none is.
	OldestInFlight time.Time
}

// InFlight is what is neither complete nor dead-lettered.
func (t Totals) InFlight() int64 { return t.Ordered - t.Completed - t.DeadLettered }

// Kinds of dead letters.
const (
	KindPoison    = "poison"    // breaks the contract; not retried
	KindExhausted = "exhausted" // failed on every attempt
	KindPanic     = "panic"     // panicked on the last attempt
)

// Statuses of dead letters.
const (
	LetterDead      = "dead"
	LetterRequeued  = "requeued"
	LetterDiscarded = "discarded"
)

// DeadLetter is an event that a module could not process after its retries.
type DeadLetter struct {
	// ID is opaque, URL-safe and follows from the letter's identity, so that
	// the same failure twice is one letter.
	ID          string
	Status      string
	Pizza       *event.PizzaID // nil if the body tells none
	Topic       string         // where the event was consumed
	Module      string         // the module that failed
	Error       string
	Kind        string
	Attempts    int
	Requeues    int
	Fingerprint string // module, kind and error with IDs and numbers masked
	FirstFailed time.Time
	LastFailed  time.Time
	Key         string            // message key, ordering key
	Headers     map[string]string // as they came
	Body        []byte
	Truncated   bool // the bus refused the whole body
}

// LetterFilter selects dead letters; zero fields select all.
type LetterFilter struct {
	Module, Topic, Order, Status string
}

// PizzaFilter selects the pizzas of an order that a page shows.
type PizzaFilter string

// Filters.
const (
	AnyPizza         PizzaFilter = ""
	CompletePizzas   PizzaFilter = "complete"
	InFlightPizzas   PizzaFilter = "in_flight"
	DeadLetterPizzas PizzaFilter = "dead_lettered"
)

// Chunk is a run of numbers of one order that a relay has leased for dispatch.
type Chunk struct {
	Order string
	// Numbers are to be published, ascending. Those that are complete or
	// dead-lettered are left out already, so it may be empty.
	Numbers []int
	// To is where the cursor goes once they are published; 0 gives the lease back
	// with the cursor, and the place among the orders, where they were.
	To int
	// Behind has the order go behind all others when its lease is given back.
	Behind bool
	// Token proves the lease.
	Token string

	turn int64 // the order's place before the lease
}
