package journal

import (
	"context"
	"log/slog"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/bus/gochannel"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/module"
	"github.com/pizzamill/pizzamill/platform/telemetry"
)

// countingBus counts who subscribes.
type countingBus struct {
	bus.Bus
	subscribers int
}

func (b *countingBus) Subscriber(group string) message.Subscriber {
	b.subscribers++
	return b.Bus.Subscriber(group)
}

// A process that still waits for its database or for the ledger's bus must not
// hold partitions or messages that others could work on: the journal subscribes
// when it is told to begin, and not before.
func TestSubscribesWhenItBegins(t *testing.T) {
	pipeline, err := event.NewPipeline("sauce")
	if err != nil {
		t.Fatal(err)
	}
	b := &countingBus{Bus: gochannel.New("", watermill.NopLogger{})}
	var begin func() (func(context.Context) error, error)
	err = Module.Start(&module.Env{
		Pipeline: pipeline,
		Log:      slog.New(slog.DiscardHandler),
		Metrics:  telemetry.NewMetrics(telemetry.NewRegistry()),
		Bus:      b,
		Consumer: func(_ string, fn func() (func(context.Context) error, error)) { begin = fn },
	})
	if err != nil || b.subscribers != 0 {
		t.Fatalf("started with %d subscribers, %v; want none", b.subscribers, err)
	}
	run, err := begin()
	if err != nil || b.subscribers == 0 {
		t.Fatalf("begun with %d subscribers, %v; want one", b.subscribers, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx); err != nil {
		t.Error(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}
