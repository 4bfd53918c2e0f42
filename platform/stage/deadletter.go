package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

// Headers that a dead letter has beside those of the event that failed.
const (
	HeaderLetterTopic    = "dead-letter-topic"
	HeaderLetterModule   = "dead-letter-module"
	HeaderLetterError    = "dead-letter-error"
	HeaderLetterKind     = "dead-letter-kind"
	HeaderLetterAttempts = "dead-letter-attempts"
	HeaderLetterRequeues = "dead-letter-requeues"
	HeaderLetterFirst    = "dead-letter-first-failed-at"
	HeaderLetterLast     = "dead-letter-last-failed-at"
	// Where the event was, on a broker that has such places.
	HeaderLetterPartition = "dead-letter-partition"
	HeaderLetterOffset    = "dead-letter-offset"
	// HeaderLetterTruncated is "true" if the bus refused the whole event for its size.
	HeaderLetterTruncated = "dead-letter-truncated"
	// HeaderLetterPizza and HeaderLetterReplay identify the event of a truncated
	// letter, whose body does not say any more whose it was.
	HeaderLetterPizza  = "dead-letter-pizza"
	HeaderLetterReplay = "dead-letter-replay"
)

// What is left of a letter that the bus refuses for its size, in bytes: of its
// body, and of all headers that came with the event. Every bus takes as much.
const (
	maxCutBody    = 64 << 10
	maxCutHeaders = 8 << 10
)

// maxReason bounds the error text of a dead letter, in bytes: a broker limits
// its headers, and nobody reads on.
const maxReason = 1000

// errSessionEnded: the message goes back to the bus, which delivers it again.
// It is a cancellation, which the Router does not log as a failure.
var errSessionEnded = fmt.Errorf("the session ended while the event waited: %w", context.Canceled)

// failure is a handler's final error.
type failure struct {
	cause       error
	kind        string
	attempts    int
	first, last time.Time
}

func (f *failure) Error() string {
	return fmt.Sprintf("%s after %d attempts: %v", f.kind, f.attempts, f.cause)
}
func (f *failure) Unwrap() error { return f.cause }

// deadLetter publishes the event of a final failure to the dead-letter topic
// and lets the original be acknowledged. Everything else passes: an interrupted
// wait is no failure, and a bus that cannot take the letter is waited for.
func (c *chain) deadLetter(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		_, err := next(m)
		var f *failure
		if !errors.As(err, &f) {
			return nil, err
		}
		letter := c.letter(m, f)
		err = c.dead.Publish(event.TopicDeadLetters, letter)
		if errors.Is(err, bus.ErrTooLarge) {
			cut(letter)
			err = c.dead.Publish(event.TopicDeadLetters, letter)
		}
		if err != nil {
			return nil, Unavailable(fmt.Errorf("publish dead letter: %w", err))
		}
		c.meter.DeadLettered.Inc()
		c.log.Warn("dead-lettered", "event", c.name(m), "kind", f.kind, "attempts", f.attempts, "error", reason(f.cause))
		return nil, nil
	}
}

// name is what logs call an event: its ID, which follows from body and topic, or
// if it has none, where it was. What its headers say may be anything.
func (c *chain) name(m *message.Message) string {
	if p, err := event.Parse(m.Payload, nil); err == nil {
		return p.EventID(c.step)
	}
	if origin, ok := bus.OriginOf(m); ok && origin.HasOffset {
		return fmt.Sprintf("partition %d, offset %d", origin.Partition, origin.Offset)
	}
	return "of no pizza"
}

// letter returns the event with its body and headers untouched, and why it failed.
func (c *chain) letter(m *message.Message, f *failure) *message.Message {
	letter := message.NewMessage(m.UUID, m.Payload)
	letter.Metadata = maps.Clone(m.Metadata)
	if letter.Metadata == nil {
		letter.Metadata = message.Metadata{}
	}
	event.AddHeaders(letter, c.topic)
	requeues := letter.Metadata[HeaderLetterRequeues]
	if requeues == "" {
		requeues = "0"
	}
	for _, ours := range []string{HeaderLetterTruncated, HeaderLetterPizza, HeaderLetterReplay, HeaderLetterPartition, HeaderLetterOffset} {
		delete(letter.Metadata, ours) // of a foreign record that says so of itself
	}
	maps.Copy(letter.Metadata, message.Metadata{
		HeaderLetterTopic:    c.topic,
		HeaderLetterModule:   c.module,
		HeaderLetterError:    reason(f.cause),
		HeaderLetterKind:     f.kind,
		HeaderLetterAttempts: strconv.Itoa(f.attempts),
		HeaderLetterRequeues: requeues,
		HeaderLetterFirst:    event.FormatTime(f.first),
		HeaderLetterLast:     event.FormatTime(f.last),
	})
	if origin, ok := bus.OriginOf(m); ok {
		bus.SetOrigin(letter, origin) // for its key
		if origin.HasOffset {
			letter.Metadata[HeaderLetterPartition] = strconv.Itoa(int(origin.Partition))
			letter.Metadata[HeaderLetterOffset] = strconv.FormatInt(origin.Offset, 10)
		}
	}
	return letter
}

// cut makes a letter small enough for every bus: its body is cut, and of the
// headers that came with the event those go that no longer fit, longest first.
func cut(letter *message.Message) {
	if p, err := event.Parse(letter.Payload, nil); err == nil {
		letter.Metadata[HeaderLetterPizza] = p.String()
		letter.Metadata[HeaderLetterReplay] = strconv.Itoa(p.Replay)
	}
	letter.Payload = letter.Payload[:min(len(letter.Payload), maxCutBody)]
	foreign := slices.DeleteFunc(slices.Collect(maps.Keys(letter.Metadata)), isLetterHeader)
	size := func(name string) int { return len(name) + len(letter.Metadata[name]) }
	slices.SortFunc(foreign, func(a, b string) int { return cmp.Or(cmp.Compare(size(a), size(b)), cmp.Compare(a, b)) })
	sum := 0
	for _, name := range foreign {
		if sum += size(name); sum > maxCutHeaders {
			delete(letter.Metadata, name)
		}
	}
	letter.Metadata[HeaderLetterTruncated] = "true"
	if origin, ok := bus.OriginOf(letter); ok && origin.Key != nil && len(*origin.Key) > maxCutHeaders {
		origin.Key = nil
		bus.SetOrigin(letter, origin)
	}
}

func isLetterHeader(name string) bool { return strings.HasPrefix(name, "dead-letter-") }

// kindOf sorts an error of an attempt into the kinds of dead letters.
func kindOf(err error) string {
	var broken *event.ContractError
	var panicked middleware.RecoveredPanicError
	switch {
	case errors.As(err, &broken):
		return store.KindPoison
	case errors.As(err, &panicked):
		return store.KindPanic
	default:
		return store.KindExhausted
	}
}

// reason is the text of an error as a header can carry it: one line, bounded,
// and of a panic only what was panicked with, since its stack differs each time.
func reason(err error) string {
	text := err.Error()
	var panicked middleware.RecoveredPanicError
	if errors.As(err, &panicked) {
		text = fmt.Sprintf("panic: %v", panicked.V)
	}
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "�")), " ")
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	return text
}
