package amqp

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/pizzamill/pizzamill/platform/bus"
)

// What the broker refuses for its size closes the channel. Its neighbours there
// are not to blame.
func TestTooLargeMessageIsRefusedAlone(t *testing.T) {
	config := settings(t)
	b := pizzaBus(t, config)
	b.patience = time.Minute
	large := message.NewMessage("o-99/pizza", make([]byte, 128<<20+1)) // above the limit of every version
	var wg sync.WaitGroup
	wg.Go(func() {
		err := b.Publisher().Publish("pizza", append(pizzas(1, 5), append([]*message.Message{large}, pizzas(6, 10)...)...)...)
		if !errors.Is(err, bus.ErrTooLarge) {
			t.Errorf("got %v, want %v", err, bus.ErrTooLarge)
		}
	})
	for n := range 20 {
		wg.Go(func() {
			if err := b.Publisher().Publish("pizza", pizzas(n+11, n+11)...); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	in, _ := subscribe(t, b)
	take(t, in, 30)
}

// A message that nobody waits for any more may still break the channel. The next
// one there is not to blame, be it alone.
func TestForgottenTooLargeMessageBlamesNobody(t *testing.T) {
	b := pizzaBus(t, settings(t))
	w := &worker{bus: b}
	sent := func(m *message.Message) *outgoing {
		p, _ := marshaler{topic: "pizza"}.Marshal(m)
		return &outgoing{Publishing: p, topic: "pizza", key: "k", call: &call{done: make(chan struct{}), gone: make(chan struct{}), left: 1}}
	}
	large := sent(message.NewMessage("o-1/pizza", make([]byte, 128<<20+1)))
	close(large.call.gone)
	_, _ = w.try([]*outgoing{large}) // and breaks the channel then, or in a moment
	small := sent(pizzas(2, 2)[0])
	w.publish([]*outgoing{small})
	if small.call.err != nil {
		t.Errorf("got %v", small.call.err)
	}
	in, _ := subscribe(t, b)
	take(t, in, 1)
}

// Properties that do not fit into a frame would cost the whole connection.
func TestHeadersLargerThanAFrame(t *testing.T) {
	config := settings(t)
	b := pizzaBus(t, config)
	publish(t, b, pizzas(1, 1)...)
	line, err := b.publish.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sized := func(size int) *message.Message {
		m := pizzas(2, 2)[0]
		m.Metadata.Set("h", "")
		p, _ := marshaler{topic: "pizza"}.Marshal(m)
		o := &outgoing{Publishing: p, key: "o-2"}
		rest := 0
		for o.checkSize(rest+1) != nil { // what it has without h
			rest++
		}
		m.Metadata.Set("h", strings.Repeat("x", size-rest-1))
		return m
	}
	frame := line.Config.FrameSize
	publish(t, b, sized(frame-len("o-2")-1)) // the key is counted, and travels in another frame
	publish(t, b, sized(frame))
	if err := b.Publisher().Publish("pizza", sized(frame+1)); !errors.Is(err, bus.ErrTooLarge) {
		t.Errorf("got %v, want %v", err, bus.ErrTooLarge)
	}
	for name, m := range map[string]*message.Message{
		"ID":     message.NewMessage(strings.Repeat("x", 256), nil),
		"header": func() *message.Message { m := pizzas(3, 3)[0]; m.Metadata.Set(strings.Repeat("x", 256), ""); return m }(),
		"key":    message.NewMessage(strings.Repeat("x", 300)+"/pizza", nil),
	} {
		if err := b.Publisher().Publish("pizza", m); !errors.Is(err, bus.ErrTooLarge) {
			t.Errorf("%s: got %v, want %v", name, err, bus.ErrTooLarge)
		}
	}
	if again, err := b.publish.get(t.Context()); err != nil || again != line {
		t.Errorf("the connection was lost: %v", err)
	}
	in, _ := subscribe(t, b)
	take(t, in, 2)
}
