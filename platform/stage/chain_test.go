package stage_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/stage"
)

var errOven = errors.New("oven is cold")

func TestStageAddsItsFieldAndKeepsTheRest(t *testing.T) {
	l := newLine(t, testConfig(), nil, okPesto)
	in := message.NewMessage("foreign", []byte(`{"id":"o-7","note":{"x":[1.50]}}`))
	in.Metadata.Set(event.HeaderTraceParent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	l.publish(in)
	out := l.take(l.out)
	event.AddHeaders(out, "pizza-with-sauce")
	if got, want := string(out.Payload), `{"id":"o-7","note":{"x":[1.50]},"sauce":"pesto"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if out.UUID != "o-7/sauce" || out.Metadata[event.HeaderID] != "o-7/sauce" {
		t.Errorf("got event ID %s, header %s", out.UUID, out.Metadata[event.HeaderID])
	}
	if got := out.Metadata[event.HeaderTraceParent]; !strings.HasPrefix(got, "00-0af7651916cd43dd8448eb211c80319c-") {
		t.Errorf("got traceparent %s, want the trace ID of the event before", got)
	}
	if got := out.Metadata[event.HeaderCorrelation]; got != "o" {
		t.Errorf("got correlation-id %q", got)
	}
}

// Each event is delivered twice, one copy after the other and both at once: the
// stage runs once for each.
func TestEachEventTwiceRunsTheStageOnce(t *testing.T) {
	var mu sync.Mutex
	runs := map[string]int{}
	l := newLine(t, testConfig(), nil, func(_ context.Context, p event.Pizza) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		runs[p.ID.String()]++
		return "pesto", nil
	})
	const n = 100
	l.send(n)
	l.send(n) // while the first copies are in hand
	for range n {
		l.take(l.out)
	}
	l.none(l.out, "second output")
	l.send(n) // when the first copies are done
	l.none(l.out, "output of a third copy")
	if len(runs) != n {
		t.Errorf("the stage ran for %d pizzas, want %d", len(runs), n)
	}
	for id, times := range runs {
		if times != 1 {
			t.Errorf("the stage ran %d times for %s", times, id)
		}
	}
}

func TestFailureIsRetriedAndDeadLetteredUntouched(t *testing.T) {
	var runs atomic.Int32
	l := newLine(t, testConfig(), nil, func(context.Context, event.Pizza) (string, error) {
		runs.Add(1)
		return "", errOven
	})
	in := message.NewMessage("x", []byte(` {"id":"o-7", "n":1.0}`))
	in.Metadata.Set("x-foreign", "stays")
	l.publish(in)
	dead := l.take(l.dead)
	if runs.Load() != 3 {
		t.Errorf("%d attempts, want 3", runs.Load())
	}
	if string(dead.Payload) != string(in.Payload) {
		t.Errorf("body changed to %s", dead.Payload)
	}
	for name, want := range map[string]string{
		"x-foreign":                "stays",
		stage.HeaderLetterTopic:    "pizza",
		stage.HeaderLetterModule:   "sauce",
		stage.HeaderLetterError:    "oven is cold",
		stage.HeaderLetterKind:     "exhausted",
		stage.HeaderLetterAttempts: "3",
		stage.HeaderLetterRequeues: "0",
	} {
		if got := dead.Metadata[name]; got != want {
			t.Errorf("header %s: got %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{stage.HeaderLetterFirst, stage.HeaderLetterLast} {
		if _, err := time.Parse(event.TimeFormat, dead.Metadata[name]); err != nil {
			t.Errorf("header %s: %v", name, err)
		}
	}
	l.none(l.out, "output of a failed pizza")
}

func TestPanicIsRetriedAndDeadLetteredWithoutItsStack(t *testing.T) {
	var runs atomic.Int32
	l := newLine(t, testConfig(), nil, func(context.Context, event.Pizza) (string, error) {
		runs.Add(1)
		panic("dropped on the floor")
	})
	l.send(1)
	dead := l.take(l.dead)
	if runs.Load() != 3 {
		t.Errorf("%d attempts, want 3", runs.Load())
	}
	if got := dead.Metadata[stage.HeaderLetterKind]; got != "panic" {
		t.Errorf("kind %q", got)
	}
	if got := dead.Metadata[stage.HeaderLetterError]; got != "panic: dropped on the floor" {
		t.Errorf("error %q", got)
	}
}

func TestPoisonIsNotRetried(t *testing.T) {
	for name, body := range map[string]string{
		"not JSON":     `pizza!`,
		"wrong number": `{"id":"o-7","number":8}`,
	} {
		t.Run(name, func(t *testing.T) {
			l := newLine(t, testConfig(), nil, func(context.Context, event.Pizza) (string, error) {
				t.Error("the stage ran")
				return "pesto", nil
			})
			l.publish(message.NewMessage("x", []byte(body)))
			dead := l.take(l.dead)
			if got := dead.Metadata[stage.HeaderLetterKind] + dead.Metadata[stage.HeaderLetterAttempts]; got != "poison1" {
				t.Errorf("got %s", got)
			}
		})
	}
}

// The stock deduplicator records a key before the handler runs, so that the
// redelivery of a failed event passes for a duplicate and the pizza is lost.
func TestFailedEventIsNoDuplicateWhenItComesAgain(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	l := newLine(t, testConfig(), nil, func(context.Context, event.Pizza) (string, error) {
		if broken.Load() {
			return "", errOven
		}
		return "pesto", nil
	})
	l.send(1)
	l.take(l.dead)
	broken.Store(false)
	l.send(1)
	if got := pizzaID(l.take(l.out)); got != "o-1" {
		t.Errorf("got %s", got)
	}
}

// A retry with the context of the attempt before would start dead.
func TestEveryAttemptHasItsOwnDeadline(t *testing.T) {
	c := testConfig()
	c.Retry.AttemptTimeout = 20 * time.Millisecond
	var runs atomic.Int32
	l := newLine(t, c, nil, func(ctx context.Context, _ event.Pizza) (string, error) {
		if err := ctx.Err(); err != nil {
			t.Errorf("attempt begins with %v", err)
		}
		if runs.Add(1) < 3 {
			<-ctx.Done()
			return "", ctx.Err()
		}
		return "pesto", nil
	})
	l.send(1)
	l.take(l.out)
}

// A filter on context.Canceled would nack this for ever.
func TestCancellationOfAStagesOwnIsAFailure(t *testing.T) {
	l := newLine(t, testConfig(), nil, func(ctx context.Context, _ event.Pizza) (string, error) {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		return "", ctx.Err()
	})
	l.send(1)
	if got := l.take(l.dead).Metadata[stage.HeaderLetterKind]; got != "exhausted" {
		t.Errorf("kind %q", got)
	}
}

// Router.Close cancels the contexts of all messages at once. What is in flight
// finishes all the same, and its output is published.
func TestShutdownLetsAnAttemptFinish(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	closing := &closeSignal{closing: make(chan struct{})}
	l := newLine(t, testConfig(), func(b bus.Bus) bus.Bus { closing.Bus = b; return closing },
		func(ctx context.Context, _ event.Pizza) (string, error) {
			close(begun)
			<-goOn
			return "pesto", ctx.Err()
		})
	l.send(1)
	<-begun
	closed := awaitable(l.closeRouter)
	<-closing.closing
	close(goOn)
	if got := pizzaID(l.take(l.out)); got != "o-1" {
		t.Errorf("got %s", got)
	}
	<-closed
	l.noneNow(l.dead, "dead letter of healthy work")
}

// closeSignal is a bus that tells when a subscriber has been closed.
type closeSignal struct {
	bus.Bus
	once    sync.Once
	closing chan struct{}
}

func (c *closeSignal) Subscriber(group string) message.Subscriber {
	return signallingSubscriber{c.Bus.Subscriber(group), c}
}

type signallingSubscriber struct {
	message.Subscriber
	signal *closeSignal
}

func (s signallingSubscriber) Close() error {
	err := s.Subscriber.Close()
	s.signal.once.Do(func() { close(s.signal.closing) })
	return err
}

// A message in backoff goes back to the bus at shutdown; it is not dead.
func TestShutdownInBackoffDeadLettersNothing(t *testing.T) {
	c := testConfig()
	c.Retry.InitialInterval, c.Retry.MaxInterval = time.Hour, time.Hour
	failed := make(chan struct{})
	l := newLine(t, c, nil, func(context.Context, event.Pizza) (string, error) {
		defer close(failed)
		return "", errOven
	})
	l.send(1)
	<-failed
	l.closeRouter() // would wait an hour, and time out, if the wait did not end
	l.noneNow(l.dead, "dead letter of healthy work")
}

// noneNow is none for a line whose handlers are closed.
func (l *line) noneNow(c <-chan *message.Message, what string) {
	l.Helper()
	select {
	case m := <-c:
		l.Errorf("%s: %s", what, m.UUID)
	default:
	}
}

// outage is a bus that refuses to publish while it is out.
type outage struct {
	bus.Bus
	out      atomic.Bool
	refusals chan struct{}
}

func (o *outage) Publisher() message.Publisher { return outagePublisher{o.Bus.Publisher(), o} }

type outagePublisher struct {
	message.Publisher
	outage *outage
}

func (p outagePublisher) Publish(topic string, ms ...*message.Message) error {
	if topic != "pizza" && p.outage.out.Load() {
		select {
		case p.outage.refusals <- struct{}{}:
		default:
		}
		return errors.New("broker is away")
	}
	return p.Publisher.Publish(topic, ms...)
}

// Publishing that counts as an attempt turns two seconds of outage into dead
// letters of healthy work.
func TestOutageOfTheBusDeadLettersNothing(t *testing.T) {
	o := &outage{refusals: make(chan struct{})}
	o.out.Store(true)
	c := testConfig()
	c.Retry.MaxAttempts = 1
	l := newLine(t, c, func(b bus.Bus) bus.Bus { o.Bus = b; return o }, okPesto)
	l.send(1)
	for range 3 {
		<-o.refusals
	}
	o.out.Store(false)
	if got := pizzaID(l.take(l.out)); got != "o-1" {
		t.Errorf("got %s", got)
	}
	l.none(l.dead, "dead letter of an outage")
}

// A dead letter that cannot be published waits with growing pauses: no hot
// loop, and the event is not lost.
func TestOutageWhileDeadLetteringLosesNothing(t *testing.T) {
	o := &outage{refusals: make(chan struct{})}
	o.out.Store(true)
	l := newLine(t, testConfig(), func(b bus.Bus) bus.Bus { o.Bus = b; return o }, func(context.Context, event.Pizza) (string, error) {
		return "", errOven
	})
	l.send(1)
	begin := time.Now()
	for range 3 {
		<-o.refusals
	}
	if took := time.Since(begin); took < 200*time.Millisecond {
		t.Errorf("three refusals in %v: that is a hot loop", took)
	}
	o.out.Store(false)
	if got := pizzaID(l.take(l.dead)); got != "o-1" {
		t.Errorf("got %s", got)
	}
}

func TestEmptyIngredientIsAFailure(t *testing.T) {
	l := newLine(t, testConfig(), nil, func(context.Context, event.Pizza) (string, error) { return "", nil })
	l.send(1)
	if got := l.take(l.dead).Metadata[stage.HeaderLetterKind]; got != "exhausted" {
		t.Errorf("kind %q", got)
	}
}
