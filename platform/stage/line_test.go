package stage_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"go.uber.org/goleak"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/bus/gochannel"
	"github.com/pizzamill/pizzamill/platform/config"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/idempotency"
	"github.com/pizzamill/pizzamill/platform/module"
	"github.com/pizzamill/pizzamill/platform/stage"
	"github.com/pizzamill/pizzamill/platform/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// line is a pipeline of one stage, with both its ends in the test's hands.
type line struct {
	*testing.T
	env  *module.Env
	out  <-chan *message.Message // pizza-with-sauce
	dead <-chan *message.Message // pizza-dead-letters
}

// testConfig retries three times and quickly.
func testConfig() config.Config {
	var c config.Config
	c.Retry.MaxAttempts = 3
	c.Retry.InitialInterval = time.Millisecond
	c.Retry.MaxInterval = 4 * time.Millisecond
	c.Retry.AttemptTimeout = 10 * time.Second
	return c
}

// newLine runs the stage "sauce" with a pick. wrap, if not nil, may put
// something between the stage and the bus.
func newLine(t *testing.T, c config.Config, wrap func(bus.Bus) bus.Bus, pick func(context.Context, event.Pizza) (string, error)) *line {
	t.Helper()
	pipeline, err := event.NewPipeline("sauce")
	if err != nil {
		t.Fatal(err)
	}
	var b bus.Bus = gochannel.New("", watermill.NopLogger{})
	if wrap != nil {
		b = wrap(b)
	}
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: 10 * time.Second}, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	l := &line{T: t, env: &module.Env{
		Config:   c,
		Pipeline: pipeline,
		Log:      slog.New(slog.DiscardHandler),
		Metrics:  telemetry.NewMetrics(telemetry.NewRegistry()),
		Bus:      b,
		Router:   router,
		Records:  func(string) idempotency.Records { return idempotency.NewMemory(idempotency.MemorySize) },
	}}
	b.Declare([]bus.Subscription{
		{Topic: "pizza", Group: "sauce"},
		{Topic: "pizza-with-sauce", Group: "test"},
		{Topic: event.TopicDeadLetters, Group: "test"},
	})
	l.out = l.subscribe("pizza-with-sauce")
	l.dead = l.subscribe(event.TopicDeadLetters)
	if err := stage.Module(stage.Stage{Name: "sauce", Make: pick}).Start(l.env); err != nil {
		t.Fatal(err)
	}
	ran := awaitable(func() {
		if err := router.Run(context.Background()); err != nil {
			t.Errorf("router: %v", err)
		}
	})
	<-router.Running()
	t.Cleanup(func() {
		l.closeRouter()
		<-ran
		if err := b.Close(); err != nil {
			t.Errorf("bus: %v", err)
		}
	})
	return l
}

func awaitable(fn func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	return done
}

func (l *line) subscribe(topic string) <-chan *message.Message {
	c, err := l.env.Bus.Subscriber("test").Subscribe(l.Context(), topic)
	if err != nil {
		l.Fatal(err)
	}
	return c
}

func (l *line) closeRouter() {
	if err := l.env.Router.Close(); err != nil {
		l.Errorf("close router: %v", err)
	}
}

// send puts the first events of pizzas o-1 to o-n on the bus.
func (l *line) send(n int) {
	l.Helper()
	for i := range n {
		p := event.New(event.PizzaID{Order: "o", Number: i + 1}, 0)
		m := event.NewMessage(p, event.StepPizza, "pizza", time.Now(), "")
		l.publish(m)
	}
}

func (l *line) publish(m *message.Message) {
	l.Helper()
	if err := l.env.Bus.Publisher().Publish("pizza", m); err != nil {
		l.Fatal(err)
	}
}

// take returns the next message of a channel, acknowledged.
func (l *line) take(c <-chan *message.Message) *message.Message {
	l.Helper()
	select {
	case m := <-c:
		m.Ack()
		return m
	case <-time.After(10 * time.Second):
		l.Fatal("no message came")
	}
	return nil
}

// none fails if, once everything is worked off, a channel had a message. What
// it receives is not acknowledged, so that the drain cannot end before it.
func (l *line) none(c <-chan *message.Message, what string) {
	l.Helper()
	drained := awaitable(func() {
		if err := l.env.Bus.Drain(l.Context()); err != nil {
			l.Errorf("drain: %v", err)
		}
	})
	select {
	case m := <-c:
		l.Errorf("%s: %s %s", what, m.UUID, m.Payload)
		m.Ack()
		<-drained
	case <-drained:
	}
}

func okPesto(context.Context, event.Pizza) (string, error) { return "pesto", nil }

func pizzaID(m *message.Message) string {
	p, err := event.Parse(m.Payload, nil)
	if err != nil {
		return fmt.Sprint(err)
	}
	return p.ID.String()
}
