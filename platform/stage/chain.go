package stage

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/config"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/idempotency"
	"github.com/pizzamill/pizzamill/platform/module"
	"github.com/pizzamill/pizzamill/platform/store"
	"github.com/pizzamill/pizzamill/platform/telemetry"
)

// chain is the middleware around every handler. Order is everything here: each
// layer sees only the errors that the layers inside let through. From the
// outside in:
//
//	correlate    reads the headers that the next event inherits
//	await        waits in place while bus or database are away; they are nobody's failure
//	deadLetter   puts what failed for good on the dead-letter topic, and acknowledges
//	retry        tries again with growing pauses; only a stage's own failure counts
//	recover      turns a panic into an error, inside retry so that it is retried too
//	deadline     gives an attempt its own time, which shutdown does not cut short
//	deduplicate  acknowledges what was processed before; records only after success
//
// A message is nacked in one case only: its session ends (shutdown, a partition
// given away) while the handler waits. An attempt that runs is let finish, on a
// context of its own, since the Router cancels the messages' contexts at once
// when it closes. What a handler publishes goes through the bus's publisher
// while the handler runs; nothing is returned to the Router.
type chain struct {
	module  string
	topic   string
	want    []string // fields that an event on the topic must have
	step    string   // of the topic
	config  config.Config
	dead    message.Publisher
	records idempotency.Records
	meter   telemetry.ModuleMetrics
	log     *slog.Logger

	reported atomic.Int64 // when a waiting handler said so last, in Unix nanoseconds
}

// Handle registers a handler of module for the events of a topic, behind the
// middleware chain. An error from fn is retried and then dead-lettered, except
// for *event.ContractError, which is dead-lettered at once, and for errors made
// by Unavailable, for which the message waits. fn is called concurrently.
// records say which events were processed already.
func Handle(env *module.Env, name, topic string, records idempotency.Records, fn HandlerFunc) {
	step, _ := env.Pipeline.StepOf(topic)
	c := &chain{
		module:  name,
		topic:   topic,
		step:    step,
		want:    env.Pipeline.Before(step),
		config:  env.Config,
		dead:    env.Bus.Publisher(),
		records: records,
		meter:   env.Metrics.Module(name, topic),
		log:     env.Log.With("module", name, "topic", topic),
	}
	handler := env.Router.AddConsumerHandler(name, topic, env.Bus.Subscriber(name), func(m *message.Message) error {
		return fn(m.Context(), *arrival(m))
	})
	handler.AddMiddleware(c.correlate, c.await, c.deadLetter, c.retry, middleware.Recoverer, c.deadline, c.deduplicate)
}

// HandleRaw registers a handler of module for whatever is on a topic, with two
// layers of the chain only, await and deadline: an error made by Unavailable is
// tried again without limit, any other one sends the message back to the bus.
func HandleRaw(env *module.Env, name, topic string, fn func(ctx context.Context, m *message.Message) error) {
	c := &chain{
		module: name,
		topic:  topic,
		config: env.Config,
		meter:  env.Metrics.Module(name, topic),
		log:    env.Log.With("module", name, "topic", topic),
	}
	handler := env.Router.AddConsumerHandler(name, topic, env.Bus.Subscriber(name), func(m *message.Message) error {
		err := fn(m.Context(), m)
		if err == nil {
			c.meter.OK.Inc()
		}
		return err
	})
	handler.AddMiddleware(c.await, c.deadline)
}

// HandlerFunc handles one event. ctx ends with the attempt's deadline, not with
// the process.
type HandlerFunc func(ctx context.Context, a Arrival) error

// Arrival is an event as a handler gets it.
type Arrival struct {
	Pizza  event.Pizza
	Source string    // the module that made the event, "" if it does not say
	At     time.Time // when it happened: ce_time, else the broker's time, else when it was received
	Trace  string    // its traceparent, for the event that follows from it

	bus string // identity of the bus it came over
}

type arrivalKey struct{}

func arrival(m *message.Message) *Arrival {
	a, _ := m.Context().Value(arrivalKey{}).(*Arrival)
	return a
}

// correlate keeps what the next event inherits, as it was when the message
// came: attempts later on see the same.
func (c *chain) correlate(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		a := &Arrival{
			Source: m.Metadata[event.HeaderSource],
			At:     event.Time(m, bus.StampOf(m, time.Now())),
			Trace:  m.Metadata[event.HeaderTraceParent],
		}
		if origin, ok := bus.OriginOf(m); ok {
			a.bus = origin.Bus
		}
		m.SetContext(context.WithValue(m.Context(), arrivalKey{}, a))
		return next(m)
	}
}

// await runs the rest again while bus or database cannot be reached. It gives
// up, and the message is nacked, only when the message's session ends.
func (c *chain) await(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		begin := time.Now()
		defer func() { c.meter.Seconds.Observe(time.Since(begin).Seconds()) }()
		for wait := firstWait; ; wait = min(2*wait, lastWait) {
			_, err := next(m)
			switch {
			case err == nil:
				return nil, nil
			case !isUnavailable(err):
				c.meter.Nacked.Inc()
				return nil, err
			}
			c.report(err)
			if !Pause(m.Context(), wait) {
				c.meter.Nacked.Inc()
				return nil, errSessionEnded
			}
		}
	}
}

// report says what handlers wait for, once for all messages that wait.
func (c *chain) report(err error) {
	last, now := c.reported.Load(), time.Now().UnixNano()
	if now-last > int64(reportEvery) && c.reported.CompareAndSwap(last, now) {
		c.log.Warn("waiting", "for", err)
	}
}

// Pauses while bus or database are away, and how often waiting handlers say so.
const (
	firstWait   = 100 * time.Millisecond
	lastWait    = 5 * time.Second
	reportEvery = time.Minute
)

// retry runs the rest up to max_attempts times. A panic counts like an error.
func (c *chain) retry(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		_, err := next(m)
		if err == nil || isUnavailable(err) {
			return nil, err
		}
		f := &failure{first: time.Now()}
		for wait := c.config.Retry.InitialInterval; ; wait = min(2*wait, c.config.Retry.MaxInterval) {
			f.attempts++
			f.last, f.cause, f.kind = time.Now(), err, kindOf(err)
			if f.kind == store.KindPoison || f.attempts >= c.config.Retry.MaxAttempts {
				return nil, f
			}
			c.log.Debug("attempt failed", "event", c.name(m), "attempt", f.attempts, "error", reason(err))
			if !Pause(m.Context(), wait) {
				return nil, errSessionEnded
			}
			c.meter.Retries.Inc()
			if _, err = next(m); err == nil || isUnavailable(err) {
				return nil, err
			}
		}
	}
}

// deadline gives each attempt its own time, and puts the message's context back
// after it: the layers outside ask that one whether the session still lives.
func (c *chain) deadline(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		session := m.Context()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(session), c.config.Retry.AttemptTimeout)
		defer cancel()
		m.SetContext(ctx)
		defer m.SetContext(session)
		return next(m)
	}
}

// deduplicate reads the body, which gives the event its identity, and passes
// over what was processed before. It records after success, never before it: a
// record made first would turn the redelivery of a failed event into a
// duplicate, and lose the pizza.
func (c *chain) deduplicate(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		p, err := event.Parse(m.Payload, c.want)
		if err != nil {
			return nil, err
		}
		arrival(m).Pizza = p
		processed, end, err := c.records.Begin(m.Context(), arrival(m).bus, p.EventID(c.step))
		switch {
		case err != nil:
			return nil, Unavailable(err)
		case processed:
			c.meter.Duplicate.Inc()
			return nil, nil
		}
		ok := false
		defer func() { end(ok) }() // after a panic too: other copies wait for this one
		if _, err := next(m); err != nil {
			return nil, err
		}
		ok = true
		c.meter.OK.Inc()
		return nil, nil
	}
}

// Pause waits and returns true, or false at once if ctx ends first.
func Pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Unavailable marks an error as that of the bus or a database which cannot be
// reached: the event is not to blame, waits where it is, and is tried again
// without limit. nil stays nil.
func Unavailable(err error) error {
	if err == nil {
		return nil
	}
	return &unavailable{err}
}

type unavailable struct{ error }

func (u *unavailable) Unwrap() error { return u.error }

func isUnavailable(err error) bool {
	var u *unavailable
	return errors.As(err, &u)
}
