// Package journal writes every event of every topic of the pipeline to the
// ledger. It reads the bus in batches, past the Router: one commit for all
// events that are waiting, then all are acknowledged.
package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/module"
	"github.com/pizzamill/pizzamill/platform/stage"
	"github.com/pizzamill/pizzamill/platform/store"
	"github.com/pizzamill/pizzamill/platform/telemetry"
)

// Name of the module and its consumer group.
const Name = "journal"

// maxBatch is how many events one commit writes at most.
const maxBatch = 1024

// Module keeps the journal.
var Module = module.Module{
	Name:     Name,
	Ledger:   true,
	Consumes: func(p event.Pipeline) []string { return p.Topics() },
	Start:    start,
}

type journal struct {
	ledger   *store.Ledger
	pipeline event.Pipeline
	log      *slog.Logger
	meters   map[string]telemetry.ModuleMetrics // by step
	in       chan delivery
}

// delivery is an event with what is known from its topic.
type delivery struct {
	*message.Message
	step     string
	received time.Time
}

func start(env *module.Env) error {
	j := &journal{
		ledger:   env.Ledger,
		pipeline: env.Pipeline,
		log:      env.Log.With("module", Name),
		meters:   map[string]telemetry.ModuleMetrics{},
		in:       make(chan delivery, maxBatch),
	}
	for _, topic := range env.Pipeline.Topics() {
		step, _ := env.Pipeline.StepOf(topic)
		j.meters[step] = env.Metrics.Module(Name, topic)
	}
	env.Consumer(Name, func() (func(context.Context) error, error) {
		sub := env.Bus.Subscriber(Name)
		streams := map[string]<-chan *message.Message{}
		for _, topic := range env.Pipeline.Topics() {
			c, err := sub.Subscribe(context.Background(), topic)
			if err != nil {
				return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
			}
			step, _ := env.Pipeline.StepOf(topic)
			streams[step] = c
		}
		return func(ctx context.Context) error {
			context.AfterFunc(ctx, func() { _ = sub.Close() })
			return j.run(ctx, streams)
		}, nil
	})
	return nil
}

// run writes batches until the subscriptions end, which they do when ctx does.
func (j *journal) run(ctx context.Context, streams map[string]<-chan *message.Message) error {
	var readers sync.WaitGroup
	for step, c := range streams {
		readers.Go(func() {
			for m := range c {
				j.in <- delivery{m, step, time.Now()}
			}
		})
	}
	go func() {
		readers.Wait()
		close(j.in)
	}()
	batch := make([]delivery, 0, maxBatch)
	for first := range j.in {
		batch = append(batch[:0], first)
		for len(batch) < maxBatch && len(j.in) > 0 {
			next, open := <-j.in
			if !open {
				break
			}
			batch = append(batch, next)
		}
		j.write(ctx, batch)
	}
	return nil
}

// write commits a batch and acknowledges it. While the ledger cannot be written
// to, the events wait here; if the process stops meanwhile, they go back to the
// bus. One whose own rows are broken goes back alone, and comes again later.
func (j *journal) write(ctx context.Context, batch []delivery) {
	facts, from := j.facts(batch)
	if len(facts) == 0 {
		return
	}
	begin := time.Now()
	var errs []error
	var err error
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		errs, err = j.ledger.Advance(context.WithoutCancel(ctx), facts)
		if !errors.Is(err, store.ErrUnavailable) {
			break
		}
		j.log.Warn("waiting", "for", err, "events", len(facts))
		if !stage.Pause(ctx, wait) {
			break
		}
		if facts, from = j.giveBack(batch, facts, from); len(facts) == 0 {
			return
		}
	}
	each := time.Since(begin).Seconds() / float64(len(from))
	for i, d := range from {
		own := err
		if errs != nil {
			own = errs[i]
		}
		j.settle(&batch[d], own)
		j.meters[batch[d].step].Seconds.Observe(each)
	}
}

// giveBack returns those events to the bus whose session has ended: it waits
// for a verdict before it gives their partition to another process.
func (j *journal) giveBack(batch []delivery, facts []store.Fact, from []int) ([]store.Fact, []int) {
	kept := 0
	for i, d := range from {
		if batch[d].Context().Err() != nil {
			j.meters[batch[d].step].Nacked.Inc()
			batch[d].Nack()
			continue
		}
		facts[kept], from[kept] = facts[i], d
		kept++
	}
	return facts[:kept], from[:kept]
}

// facts returns what the batch says, and which of its events says it. Events
// that break the contract are acknowledged here and not journalled: the stage
// that reads the topic makes the dead letter.
func (j *journal) facts(batch []delivery) (facts []store.Fact, from []int) {
	facts = make([]store.Fact, 0, len(batch))
	from = make([]int, 0, len(batch))
	for i, d := range batch {
		p, err := event.Parse(d.Payload, j.pipeline.Before(d.step))
		if err != nil {
			j.log.Debug("event skipped", "event", d.UUID, "error", err)
			j.meters[d.step].OK.Inc()
			d.Ack()
			continue
		}
		facts = append(facts, store.Fact{
			Pizza:  p.ID,
			Step:   d.step,
			At:     event.Time(d.Message, bus.StampOf(d.Message, d.received)),
			Source: d.Metadata[event.HeaderSource],
			Body:   p.Body(),
			Replay: p.Replay,
		})
		from = append(from, i)
	}
	return facts, from
}

// settle acknowledges an event that is committed, or that no retry could
// commit: one of a pizza that nobody ordered is no fact (`pizza` makes the dead
// letter at the end of the line), nor is one of a step that left the pipeline.
func (j *journal) settle(d *delivery, err error) {
	var broken *event.ContractError
	meter := j.meters[d.step]
	switch {
	case err == nil:
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrUnknownStep), errors.As(err, &broken):
		j.log.Debug("event skipped", "event", d.UUID, "error", err)
	default:
		j.log.Warn("event goes back to the bus", "event", d.UUID, "error", err)
		meter.Nacked.Inc()
		d.Nack()
		return
	}
	meter.OK.Inc()
	d.Ack()
}
