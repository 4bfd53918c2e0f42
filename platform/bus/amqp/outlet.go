package amqp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/pizzamill/pizzamill/platform/bus"
)

// Pauses before something is tried again that the broker's absence or trouble
// prevented.
const (
	minPause = 50 * time.Millisecond
	maxPause = 2 * time.Second
)

var (
	errNacked     = errors.New("RabbitMQ could not take the message")
	errBlocked    = errors.New("RabbitMQ takes no messages")
	errUnroutable = errors.New("no queue is bound to the exchange")
)

// worker publishes one batch at a time on a channel of its own.
type worker struct {
	bus *Bus
	out *outlet // nil or closed: opened when it is needed
}

// outlet is a channel in confirm mode.
type outlet struct {
	line    *line
	ch      *amqp091.Channel
	closed  chan *amqp091.Error
	returns chan amqp091.Return
	// owed is true if a message has no outcome on this channel because nobody
	// waited for it: the channel may break for its sake.
	owed bool
}

// publish gives every message of a batch its outcome, or ends with the bus.
//
// A channel that breaks takes all that is unconfirmed on it along, whoever is to
// blame: that is sent again, and as long as the broker gives a reason to suspect
// a message, one by one, so that only the guilty one sees the error.
func (w *worker) publish(batch []*outgoing) {
	for wait := minPause; ; wait = min(2*wait, maxPause) {
		batch = slices.DeleteFunc(batch, func(o *outgoing) bool { return !o.isWanted() })
		if len(batch) == 0 {
			return
		}
		sent := batch
		var err error
		if batch, err = w.try(sent); len(batch) == 0 {
			return
		}
		if reason := refusal(err); reason != nil {
			if len(sent) == 1 {
				batch[0].settle(reason)
				return
			}
			for _, o := range batch {
				w.publish([]*outgoing{o})
			}
			return
		}
		for _, o := range batch {
			o.note(err)
		}
		if isMissing(err) {
			if err := w.restore(batch); err != nil {
				w.bus.log.Debug("exchanges and queues not restored", "error", err)
			}
		}
		if !pause(w.bus.closing, wait) {
			return
		}
	}
}

// try sends a batch and waits for what becomes of it. It returns the messages
// that have no outcome yet, in their order, and why.
func (w *worker) try(batch []*outgoing) ([]*outgoing, error) {
	if err := w.open(); err != nil {
		return batch, err
	}
	w.out.forgetReturns()
	if reason := w.out.line.blockedFor(); reason != "" {
		return batch, fmt.Errorf("%w: %s", errBlocked, reason)
	}
	confirms, rest := w.write(batch)
	var left []*outgoing
	var failed error
	unroutable := map[string]bool{}
	for i, o := range batch[:len(confirms)] {
		confirm := confirms[i]
		if confirm == nil {
			continue
		}
		select {
		case <-confirm.Done():
		case <-o.call.gone:
			w.out.owed = true
			continue
		}
		// The broker returns a message before it confirms it.
		w.out.readReturns(unroutable)
		switch {
		case confirm.Acked() && !unroutable[w.bus.exchange(o.topic)]:
			o.settle(nil)
		case confirm.Acked():
			left, failed = append(left, o), errUnroutable
		case w.out.ch.IsClosed():
			left = append(left, o)
		default: // a quorum queue without a leader, for example
			left, failed = append(left, o), errNacked
		}
	}
	left = append(left, rest...)
	if w.out.ch.IsClosed() {
		failed = w.out.reason()
		if w.out.owed {
			failed = errors.New("the channel broke for an earlier message: " + failed.Error()) // not wrapped: these are not to blame
		}
	}
	return left, failed
}

// write sends a batch in as few system calls as it takes. It returns a confirm
// for each message, nil for those that have their outcome, and those it could
// not write because the channel broke.
func (w *worker) write(batch []*outgoing) (confirms []*amqp091.DeferredConfirmation, rest []*outgoing) {
	frame := w.out.line.Config.FrameSize
	w.out.line.cork.hold(func() {
		for i, o := range batch {
			if err := o.checkSize(frame); err != nil {
				o.settle(err)
				confirms = append(confirms, nil)
				continue
			}
			// Where nobody reads, there is no queue, and none is missed.
			mandatory := w.bus.hasReaders(o.topic)
			confirm, err := w.out.ch.PublishWithDeferredConfirm(w.bus.exchange(o.topic), o.key, mandatory, false, o.Publishing)
			if err != nil {
				rest = batch[i:]
				return
			}
			confirms = append(confirms, confirm)
		}
	})
	return confirms, rest
}

// open makes sure that there is a channel.
func (w *worker) open() error {
	if w.out != nil && !w.out.ch.IsClosed() {
		return nil
	}
	line, err := w.bus.publish.get(w.bus.closing)
	if err != nil {
		return err
	}
	ch, err := line.Channel()
	if err != nil {
		return fmt.Errorf("open a channel: %w", err)
	}
	if err := ch.Confirm(false); err != nil {
		return fmt.Errorf("turn on confirms: %w", err)
	}
	w.out = &outlet{
		line:    line,
		ch:      ch,
		closed:  ch.NotifyClose(make(chan *amqp091.Error, 1)),
		returns: ch.NotifyReturn(make(chan amqp091.Return, maxBatch)),
	}
	return nil
}

// restore makes exist what a batch found missing.
func (w *worker) restore(batch []*outgoing) error {
	if err := w.bus.restore(); err != nil {
		return err
	}
	// A bus that was never connected has but the topics that it is used with.
	topics := map[string]bool{}
	for _, o := range batch {
		topics[o.topic] = true
	}
	return w.bus.declareTopics(topics)
}

// reason returns why the channel closed.
func (o *outlet) reason() error {
	if err := <-o.closed; err != nil { // closed with the channel, the reason before that
		return err
	}
	return amqp091.ErrClosed
}

// readReturns notes the exchanges whose messages came back.
func (o *outlet) readReturns(exchanges map[string]bool) {
	for {
		select {
		case r, ok := <-o.returns:
			if !ok {
				return
			}
			exchanges[r.Exchange] = true
		default:
			return
		}
	}
}

// forgetReturns drops those of an earlier batch that nobody waited for.
func (o *outlet) forgetReturns() { o.readReturns(map[string]bool{}) }

// isMissing reports whether an exchange or all its queues are gone.
func isMissing(err error) bool {
	var e *amqp091.Error
	return errors.Is(err, errUnroutable) || errors.As(err, &e) && e.Code == amqp091.NotFound
}

// refusal returns what a message is refused with if an error, by which the broker
// closed channel or connection, may be a message's fault, else nil.
func refusal(err error) error {
	var e *amqp091.Error
	if !errors.As(err, &e) || !e.Server {
		return nil
	}
	switch e.Code {
	case amqp091.NotFound, amqp091.ConnectionForced, amqp091.InternalError, amqp091.ResourceError:
		return nil // the broker's own trouble, or an operator's order
	case amqp091.PreconditionFailed:
		if strings.Contains(e.Reason, "size") {
			return fmt.Errorf("%s: %w", e.Reason, bus.ErrTooLarge)
		}
	}
	return err
}

// pause waits, and returns false at once if ctx ends.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
