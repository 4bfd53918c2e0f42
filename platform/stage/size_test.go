package stage_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/stage"
)

// narrow is a bus that takes messages of up to max bytes, headers included, as
// brokers do.
type narrow struct {
	bus.Bus
	max int
}

func (n *narrow) Publisher() message.Publisher { return narrowPublisher{n.Bus.Publisher(), n.max} }

type narrowPublisher struct {
	message.Publisher
	max int
}

func (p narrowPublisher) Publish(topic string, ms ...*message.Message) error {
	for _, m := range ms {
		size := len(m.Payload)
		for name, value := range m.Metadata {
			size += len(name) + len(value)
		}
		if size > p.max {
			return fmt.Errorf("%d bytes: %w", size, bus.ErrTooLarge)
		}
	}
	return p.Publisher.Publish(topic, ms...)
}

// A pizza that with its ingredient is larger than the bus takes is poison, at
// once. Its letter is cut, says so, and keeps what identifies it.
func TestTooLargeForTheBusIsPoisonAndCut(t *testing.T) {
	runs := 0
	const limit = 200 << 10
	l := newLine(t, testConfig(), func(b bus.Bus) bus.Bus { return &narrow{b, limit} }, func(context.Context, event.Pizza) (string, error) {
		runs++
		return "pesto", nil
	})
	body := `{"id":"o-1","note":"` + strings.Repeat("x", limit-40) + `"}`
	m := message.NewMessage("o-1/pizza", []byte(body))
	m.Metadata["short"] = "kept"
	m.Metadata["long"] = strings.Repeat("y", 20<<10)
	key := "o-1"
	bus.SetOrigin(m, bus.Origin{Key: &key, HasOffset: true, Partition: 3, Offset: 41})
	deliver := func() *message.Message {
		// Past the narrow publisher: such a record is on the topic already.
		if err := l.env.Bus.(*narrow).Bus.Publisher().Publish("pizza", m); err != nil {
			t.Fatal(err)
		}
		return l.take(l.dead)
	}
	letter := deliver()
	for name, want := range map[string]string{
		stage.HeaderLetterKind:      "poison",
		stage.HeaderLetterAttempts:  "1",
		stage.HeaderLetterTruncated: "true",
		stage.HeaderLetterPizza:     "o-1",
		stage.HeaderLetterReplay:    "0",
		stage.HeaderLetterPartition: "3",
		stage.HeaderLetterOffset:    "41",
		"short":                     "kept",
		"long":                      "",
	} {
		if got := letter.Metadata[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if !strings.HasPrefix(body, string(letter.Payload)) || len(letter.Payload) == 0 {
		t.Errorf("the letter has %d bytes that are not the beginning of the event", len(letter.Payload))
	}
	if runs != 1 {
		t.Errorf("the stage ran %d times, want once", runs)
	}
	// What the bus can carry goes on.
	l.send(1)
	l.take(l.out)
}
