package pizza

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/stage"
	"github.com/pizzamill/pizzamill/platform/store"
)

// relay puts on the bus what the ledger has not dispatched yet. It is the one
// place where a request becomes events, and the only source of the pipeline.
//
// It works on state ("not dispatched yet") and never on what it saw last, so it
// needs no memory: after a crash at any point the ledger still says what is to
// be done. The order of its steps is what loses nothing:
//
//  1. wait for room on the bus, so that 100,000 pizzas in one order do not
//     become 100,000 events in memory;
//  2. lease runs of numbers from several orders in fair turns, and commit: from
//     here on, and for 30 seconds, no other relay has them;
//  3. publish, with no transaction open: a bus may take its time;
//  4. move the cursors behind what was published, under the lease's token, and
//     commit. A crash before this repeats at most these numbers, under the same
//     event IDs; a lease that ran out meanwhile moves nothing. What could not
//     be published gives its lease back.
type relay struct {
	ledger *store.Ledger
	bus    bus.Bus
	topic  string
	log    *slog.Logger

	// careful is set after a round that failed, see publishRound.
	careful bool
}

const (
	// maxBatch is how many pizzas one round of the relay dispatches at most.
	maxBatch = 1024
	// idle is how often the relay looks for work that nobody signalled: a lease
	// that ran out, an order taken by another process.
	idle = time.Second
	// Pauses after failures.
	firstWait = 100 * time.Millisecond
	maxWait   = 5 * time.Second
	// reportEvery is how often a relay that waits says so.
	reportEvery = 30 * time.Second
)

// run dispatches until ctx ends. Failures are waited out: the ledger keeps what
// is to be done.
func (r *relay) run(ctx context.Context) error {
	wake, stop := r.ledger.WatchDispatch()
	defer stop()
	var reported time.Time
	for wait := firstWait; ctx.Err() == nil; {
		n, err := r.dispatch(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			if time.Since(reported) > reportEvery {
				r.log.Warn("relay is waiting", "for", err)
				reported = time.Now()
			}
			stage.Pause(ctx, wait)
			wait = min(2*wait, maxWait)
		default:
			wait = firstWait
			if n == 0 {
				awaitWork(ctx, wake)
			}
		}
	}
	return nil
}

// awaitWork returns at a signal, and after idle.
func awaitWork(ctx context.Context, wake <-chan struct{}) {
	t := time.NewTimer(idle)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-t.C:
	}
}

// dispatch does one round and returns how many numbers it moved past.
func (r *relay) dispatch(ctx context.Context) (int, error) {
	room, err := r.bus.Room(ctx, maxBatch)
	if err != nil {
		return 0, fmt.Errorf("room on the bus: %w", err)
	}
	chunks, err := r.ledger.Lease(ctx, room)
	if err != nil {
		return 0, fmt.Errorf("lease orders: %w", err)
	}
	if len(chunks) == 0 {
		return 0, nil
	}
	arrived, failed := r.publishRound(chunks)
	n := 0
	for _, c := range chunks[:arrived] {
		n += max(1, len(c.Numbers))
	}
	for i := range chunks[arrived:] {
		// The lease is given back with the cursor where it was: once the bus is
		// back, nobody waits for leases to run out. What was published of it is
		// published again, under the same IDs.
		chunks[arrived+i].To = 0
	}
	if err := r.moveCursors(ctx, chunks); err != nil && failed == nil {
		return 0, err
	}
	return n, failed
}

// moveCursors says in the ledger that the chunks are on the bus. It tries until
// that is written or another relay has the orders: giving up would leave them
// leased, and everything to be published again.
func (r *relay) moveCursors(ctx context.Context, chunks []store.Chunk) error {
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		// What is on the bus is on the bus, also when shutdown has begun meanwhile.
		err := r.ledger.Dispatched(context.WithoutCancel(ctx), chunks)
		if err == nil {
			return nil
		}
		err = fmt.Errorf("move cursors: %w", err)
		if errors.Is(err, store.ErrLeaseLost) || !stage.Pause(ctx, wait) {
			return err
		}
		r.log.Warn("relay is waiting", "for", err)
	}
}

// publishRound puts a round on the bus, and returns how many of its chunks are
// surely there: at once, since each call waits for the broker, and many small
// orders would wait for it one after the other. After a failure it begins with
// one chunk and doubles: a bus may take some and not others, or be too slow for
// all at once. The order that fails alone goes behind the others.
func (r *relay) publishRound(chunks []store.Chunk) (arrived int, err error) {
	size := len(chunks)
	if r.careful {
		size = 1
	}
	for arrived < len(chunks) {
		end := min(arrived+size, len(chunks))
		if err := r.publish(chunks[arrived:end]); err != nil {
			chunks[arrived].Behind = end-arrived == 1
			r.careful = true
			return arrived, err
		}
		arrived, size = end, 2*size
	}
	r.careful = false
	return arrived, nil
}

func (r *relay) publish(chunks []store.Chunk) error {
	now := time.Now()
	var messages []*message.Message
	for _, c := range chunks {
		for _, number := range c.Numbers {
			p := event.New(event.PizzaID{Order: c.Order, Number: number}, 0)
			messages = append(messages, event.NewMessage(p, event.StepPizza, Name, now, ""))
		}
	}
	if len(messages) == 0 {
		return nil
	}
	if err := r.bus.Publisher().Publish(r.topic, messages...); err != nil {
		return fmt.Errorf("publish %d pizzas of %d orders: %w", len(messages), len(chunks), err)
	}
	return nil
}
