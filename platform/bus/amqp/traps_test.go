package amqp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/pizzamill/pizzamill/platform/bus"
)

// One closed connection once left a pool without channels, and all publishers
// waiting for ever.
func TestClosedConnectionsDoNotWedgePublishers(t *testing.T) {
	config := settings(t)
	b := pizzaBus(t, config)
	in, _ := subscribe(t, b)
	const publishers, each = 16, 60
	var published atomic.Int64
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for n := range each {
				m := pizzas(p*each+n, p*each+n)
				if err := b.Publisher().Publish("pizza", m...); err != nil {
					t.Errorf("publish: %v", err)
				}
				published.Add(1)
			}
		})
	}
	go func() {
		for closed := 0; closed < 4 && published.Load() < publishers*each; {
			closed += closeConnections(t, config)
		}
	}()
	take(t, in, publishers*each)
	wg.Wait()
}

// An exchange without a queue drops what it gets and confirms it.
func TestNothingIsLostWhileAQueueIsMissing(t *testing.T) {
	config := settings(t)
	b := pizzaBus(t, config)
	ch := raw(t, config)
	if _, err := ch.QueueDelete("test-pizza.a", false, false, false); err != nil {
		t.Fatal(err)
	}
	publish(t, b, pizzas(1, 10)...)
	in, _ := subscribe(t, b)
	take(t, in, 10)
}

func TestNothingIsLostWhileAnExchangeIsMissing(t *testing.T) {
	config := settings(t)
	b := pizzaBus(t, config)
	publish(t, b, pizzas(1, 1)...)
	if err := raw(t, config).ExchangeDelete("test-pizza", false, false); err != nil {
		t.Fatal(err)
	}
	publish(t, b, pizzas(2, 10)...)
	in, _ := subscribe(t, b)
	take(t, in, 10)
}

// Where no group was declared, nobody misses a message.
func TestTopicWithoutReaders(t *testing.T) {
	b := pizzaBus(t, settings(t))
	if err := b.Publisher().Publish("nobody-reads", pizzas(1, 1)...); err != nil {
		t.Error(err)
	}
}

// RabbitMQ 3.10 closes the connection of who consumes a quorum queue that another
// process is just making; a queue in the making on that connection then stayed
// without a leader for ever.
func TestProcessesStartAtOnce(t *testing.T) {
	config := settings(t)
	const processes, topics, each = 5, 8, 3
	var subs []bus.Subscription
	for n := range topics {
		for _, group := range []string{"a", "b"} {
			subs = append(subs, bus.Subscription{Topic: fmt.Sprint("t", n), Group: group})
		}
	}
	var mu sync.Mutex
	missing := map[string]bool{}
	for _, s := range subs {
		for n := range each {
			missing[fmt.Sprintf("%s %s o-%d/pizza", s.Topic, s.Group, n+1)] = true
		}
	}
	arrived := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait() // once all are closed
	for p := range processes {
		b := open(t, config)
		b.Declare(subs)
		for _, s := range subs {
			in, err := b.Subscriber(s.Group).Subscribe(t.Context(), s.Topic)
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				for m := range in {
					mu.Lock()
					delete(missing, s.Topic+" "+s.Group+" "+m.UUID)
					if len(missing) == 0 {
						close(arrived)
						missing["closed"] = true
					}
					mu.Unlock()
					m.Ack()
				}
			})
		}
		wg.Go(func() {
			eventually(t, "connected", func() bool { return b.Connect(t.Context()) == nil })
			for n := range topics {
				if n%processes != p {
					continue
				}
				if err := b.Publisher().Publish(fmt.Sprint("t", n), pizzas(1, each)...); err != nil {
					t.Error(err)
				}
			}
		})
		defer func() { _ = b.Close() }()
	}
	select {
	case <-arrived:
	case <-time.After(2 * patience):
		mu.Lock()
		defer mu.Unlock()
		t.Errorf("missing %v", missing)
	}
}

// A header that was no text once stopped the queue behind it.
func TestForeignHeadersDoNotStopTheQueue(t *testing.T) {
	config := settings(t)
	b := pizzaBus(t, config)
	ch := raw(t, config)
	for _, headers := range []amqp091.Table{
		{"n": int32(7), "x-delivery-count": int64(3), "x-death": []any{amqp091.Table{"count": int64(1)}}},
		{"nested": amqp091.Table{"a": []any{int64(1), true, nil, []byte{0xff}}}, "at": time.Unix(1, 0)},
		nil,
	} {
		err := ch.PublishWithContext(t.Context(), "test-pizza", "", false, false, amqp091.Publishing{Headers: headers, Body: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
	}
	publish(t, b, pizzas(1, 1)...)
	in, _ := subscribe(t, b)
	foreign, died := 0, ""
	for range 4 {
		m := next(t, in)
		if m.UUID == "" {
			foreign++
		}
		if m.Metadata["x-delivery-count"] != "" {
			t.Errorf("the broker's own count travels on: %v", m.Metadata)
		}
		died += m.Metadata["x-death"]
		m.Ack()
	}
	if want := `[{"count":1}]`; died != want {
		t.Errorf("the story of a message that died elsewhere is %q, want %q", died, want)
	}
	if foreign != 3 {
		t.Errorf("%d messages without a UUID, want 3", foreign)
	}
}

// RabbitMQ 4 drops a message at its 21st delivery, 3.10 at the first if the limit is -1.
func TestQuorumQueueDropsNothingHoweverOftenItIsGivenBack(t *testing.T) {
	config := settings(t)
	b := pizzaBus(t, config)
	publish(t, b, pizzas(1, 1)...)
	for range 25 {
		in, s := subscribe(t, b)
		m := next(t, in)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		m.Nack()
	}
	in, _ := subscribe(t, b)
	take(t, in, 1)
}

// A nacked message waits in this process and does not go round through the broker.
func TestNackedMessageStaysInHand(t *testing.T) {
	config := settings(t)
	b := pizzaBus(t, config)
	publish(t, b, pizzas(1, 1)...)
	in, _ := subscribe(t, b)
	ch := raw(t, config)
	for range 3 {
		next(t, in).Nack()
		if n := ready(t, ch); n != 0 {
			t.Errorf("%d messages are back in the queue", n)
		}
	}
	take(t, in, 1)
	b.Close()
	q, err := ch.QueueDeclarePassive("test-pizza.a", true, false, false, false, nil)
	if err != nil || q.Messages != 0 {
		t.Errorf("left in the queue: %d, %v", q.Messages, err)
	}
}

// Deleting a queue under a consumer once gave a message without UUID and body.
func TestDeletedQueueIsNoMessage(t *testing.T) {
	config := settings(t)
	b := pizzaBus(t, config)
	in, _ := subscribe(t, b)
	publish(t, b, pizzas(1, 1)...)
	held := next(t, in)
	ch := raw(t, config)
	if _, err := ch.QueueDelete("test-pizza.a", false, false, false); err != nil {
		t.Fatal(err)
	}
	select {
	case <-held.Context().Done():
	case <-time.After(patience):
		t.Fatal("the message in hand does not see that its session ended")
	}
	held.Ack()
	publish(t, b, pizzas(2, 11)...)
	for range 10 {
		m := next(t, in)
		if m.UUID == "" || m.UUID == "o-1/pizza" {
			t.Errorf("got %q", m.UUID)
		}
		m.Ack()
	}
}

// What exists with another type or argument closes the channel with 406.
func TestWhatDiffersIsAConflict(t *testing.T) {
	config := settings(t)
	ch := raw(t, config)
	for name, declare := range map[string]func() error{
		"queue test-pizza.a: has x-queue-type classic, want x-queue-type quorum": func() error {
			_, err := ch.QueueDeclare("test-pizza.a", true, false, false, false, Arguments("classic"))
			return err
		},
		"queue test-pizza.a: has x-delivery-limit 20, want x-delivery-limit 2147483647": func() error {
			_, err := ch.QueueDeclare("test-pizza.a", true, false, false, false, amqp091.Table{"x-queue-type": "quorum", "x-delivery-limit": int32(20)})
			return err
		},
		"queue test-pizza.a: has x-max-length 5, want x-max-length none": func() error {
			args := amqp091.Table(Arguments("quorum"))
			args["x-max-length"] = int32(5)
			_, err := ch.QueueDeclare("test-pizza.a", true, false, false, false, args)
			return err
		},
		"exchange test-pizza: has type topic, want type fanout": func() error {
			return ch.ExchangeDeclare("test-pizza", "topic", true, false, false, false, nil)
		},
		"exchange test-pizza: has durable false, want durable true": func() error {
			return ch.ExchangeDeclare("test-pizza", "fanout", false, false, false, false, nil)
		},
	} {
		if err := declare(); err != nil {
			t.Fatal(err)
		}
		b := open(t, config)
		b.Declare([]bus.Subscription{{Topic: "pizza", Group: "a"}})
		err := b.Connect(t.Context())
		var conflict *bus.ConflictError
		if !errors.As(err, &conflict) {
			t.Fatalf("want a conflict (%s), got %v", name, err)
		}
		if got := conflict.What + ": has " + conflict.Have + ", want " + conflict.Want; got != name {
			t.Errorf("got %q, want %q", got, name)
		}
		_ = b.Close()
		if _, err := ch.QueueDelete("test-pizza.a", false, false, false); err != nil {
			t.Fatal(err)
		}
		if err := ch.ExchangeDelete("test-pizza", false, false); err != nil {
			t.Fatal(err)
		}
	}
}

// AMQP tells of ready messages only.
func TestLagWithoutManagementCountsReady(t *testing.T) {
	config := settings(t)
	config.ManagementURL, config.Concurrency = "", 3
	b := pizzaBus(t, config)
	publish(t, b, pizzas(1, 10)...)
	in, _ := subscribe(t, b)
	m := next(t, in)
	defer m.Ack()
	eventually(t, "7 ready beside 3 in hand", func() bool {
		lag, err := b.Lag(t.Context())
		return err == nil && len(lag) == 1 && lag[0].Messages == 7
	})
	if names, err := b.Queues(t.Context()); names != nil || err != nil {
		t.Errorf("queues: %v, %v", names, err)
	}
}

// A message whose handler still runs when its subscriber closes is not handed to
// another one; what nobody has in hand is, at once.
func TestCloseKeepsWhatIsInHand(t *testing.T) {
	config := settings(t)
	b1, b2 := pizzaBus(t, config), pizzaBus(t, config)
	b1.settle = patience
	publish(t, b1, pizzas(1, 10)...)
	in1, s1 := subscribe(t, b1)
	held := next(t, in1)
	if err := s1.Close(); err != nil {
		t.Fatal(err)
	}
	in2, _ := subscribe(t, b2)
	got := map[string]bool{}
	for range 9 {
		m := next(t, in2)
		got[m.UUID] = true
		m.Ack()
	}
	if got[held.UUID] || len(got) != 9 {
		t.Errorf("got %v while %s is in hand", got, held.UUID)
	}
	held.Ack()
	ch := raw(t, config)
	eventually(t, "nothing is left", func() bool {
		var queue struct{ Messages int }
		api(t, config, http.MethodGet, "/api/queues/%V/test-pizza.a", "", &queue)
		return ready(t, ch) == 0 && queue.Messages == 0
	})
	select {
	case m := <-in2:
		t.Errorf("%s came again", m.UUID)
	default:
	}
}

// A message that is never done with holds up its lane and not the queue.
func TestStuckMessageDoesNotHoldUpTheQueue(t *testing.T) {
	config := settings(t)
	config.Concurrency = 4
	b := pizzaBus(t, config)
	publish(t, b, pizzas(1, 100)...)
	in, _ := subscribe(t, b)
	held := next(t, in)
	take(t, in, 96) // of 99: one or two may wait in its lane
	held.Ack()
	take(t, in, 3)
}

// Two processes share the work of a queue, and none takes more than it may have in hand.
func TestProcessesShareAQueue(t *testing.T) {
	config := settings(t)
	config.Concurrency = 8
	b1, b2 := pizzaBus(t, config), pizzaBus(t, config)
	publish(t, b1, pizzas(1, 100)...)
	ch := raw(t, config)
	in1, _ := subscribe(t, b1)
	eventually(t, "the first one has 8", func() bool { return ready(t, ch) == 92 })
	in2, _ := subscribe(t, b2)
	eventually(t, "both have 8", func() bool { return ready(t, ch) == 84 })
	var counts [2]int
	for counts[0]+counts[1] < 100 {
		var m *message.Message
		select {
		case m = <-in1:
			counts[0]++
		case m = <-in2:
			counts[1]++
		case <-time.After(patience):
			t.Fatal("no message came")
		}
		m.Ack()
	}
	if counts[0] < 20 || counts[1] < 20 {
		t.Errorf("shared %v", counts)
	}
}

// The end of a subscription's context closes its channel, and nothing is lost.
func TestSubscriptionEndsWithItsContext(t *testing.T) {
	b := pizzaBus(t, settings(t))
	publish(t, b, pizzas(1, 5)...)
	ctx, cancel := context.WithCancel(t.Context())
	s := b.Subscriber("a")
	in, err := s.Subscribe(ctx, "pizza")
	if err != nil {
		t.Fatal(err)
	}
	next(t, in).Nack()
	cancel()
	for m := range in {
		m.Nack()
	}
	in, _ = subscribe(t, b)
	take(t, in, 5)
	_ = s.Close()
	if _, err := s.Subscribe(t.Context(), "pizza"); err == nil {
		t.Error("a closed subscriber subscribes")
	}
}
