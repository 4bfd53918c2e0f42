// Package bustest is the contract of a bus as tests: one suite that every
// driver passes.
package bustest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/pizzamill/pizzamill/platform/bus"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// Driver is what the suite needs to know of a bus.
type Driver struct {
	// New returns a fresh bus whose topics and groups begin with prefix. The
	// suite closes it.
	New func(t *testing.T, prefix string) bus.Bus
	// Durable is true if messages outlive their publisher and what a closed
	// subscriber had in hand is delivered to the next.
	Durable bool
}

// Run runs the suite.
func Run(t *testing.T, d Driver) {
	for name, test := range map[string]func(*testing.T, Driver){
		"EveryGroupGetsEveryMessage":     everyGroupGetsEveryMessage,
		"MessageArrivesAsItWasSent":      messageArrivesAsItWasSent,
		"NackComesAgainAfterGrowingWait": nackComesAgainAfterGrowingWait,
		"ManyInHandAtOnce":               manyInHandAtOnce,
		"PublisherOutlivesItsClose":      publisherOutlivesItsClose,
		"LagCountsUnacknowledged":        lagCountsUnacknowledged,
		"DrainAndRoomFollowTheBacklog":   drainAndRoomFollowTheBacklog,
		"PrefixesDoNotMix":               prefixesDoNotMix,
		"IdentityIsStable":               identityIsStable,
		"CloseEndsSubscriptions":         closeEndsSubscriptions,
		"ClosedSubscriberLosesNothing":   closedSubscriberLosesNothing,
	} {
		t.Run(name, func(t *testing.T) { test(t, d) })
	}
}

// open returns a bus with the groups a and b on topic "pizza".
func open(t *testing.T, d Driver) (bus.Bus, context.Context) {
	t.Helper()
	b := d.New(t, fmt.Sprintf("t%d-", time.Now().UnixNano()))
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	b.Declare([]bus.Subscription{{Topic: "pizza", Group: "a"}, {Topic: "pizza", Group: "b"}})
	if err := b.Connect(ctx); err != nil {
		t.Fatalf("connect: %v", err)
	}
	return b, ctx
}

func subscribe(ctx context.Context, t *testing.T, b bus.Bus, group string) (<-chan *message.Message, message.Subscriber) {
	t.Helper()
	s := b.Subscriber(group)
	c, err := s.Subscribe(ctx, "pizza")
	if err != nil {
		t.Fatalf("subscribe %s: %v", group, err)
	}
	return c, s
}

func publish(t *testing.T, b bus.Bus, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := b.Publisher().Publish("pizza", message.NewMessage(id, []byte(`{"id":"`+id+`"}`))); err != nil {
			t.Fatalf("publish %s: %v", id, err)
		}
	}
}

func next(ctx context.Context, t *testing.T, c <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-c:
		if !ok {
			t.Fatal("subscription ended")
		}
		return m
	case <-ctx.Done():
		t.Fatal("no message came")
	}
	return nil
}

// take acknowledges messages until it has n different ones.
func take(ctx context.Context, t *testing.T, c <-chan *message.Message, n int) map[string]int {
	t.Helper()
	got := map[string]int{}
	for len(got) < n {
		m := next(ctx, t, c)
		got[m.UUID]++
		m.Ack()
	}
	return got
}

func ids(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("o-%d", i+1)
	}
	return out
}

func everyGroupGetsEveryMessage(t *testing.T, d Driver) {
	b, ctx := open(t, d)
	ca, _ := subscribe(ctx, t, b, "a")
	cb, _ := subscribe(ctx, t, b, "b")
	const publishers, each = 4, 100
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				m := message.NewMessage(fmt.Sprintf("o-%d", p*each+i+1), []byte(`{}`))
				if err := b.Publisher().Publish("pizza", m); err != nil {
					t.Errorf("publish: %v", err)
				}
			}
		})
	}
	for _, c := range []<-chan *message.Message{ca, cb} {
		if got := take(ctx, t, c, publishers*each); len(got) != publishers*each {
			t.Errorf("got %d messages", len(got))
		}
	}
	wg.Wait()
	if err := b.Drain(ctx); err != nil {
		t.Errorf("drain: %v", err)
	}
}

func messageArrivesAsItWasSent(t *testing.T, d Driver) {
	b, ctx := open(t, d)
	c, _ := subscribe(ctx, t, b, "a")
	subscribe(ctx, t, b, "b")
	sent := message.NewMessage("o-1/pizza", []byte("{\"id\":\"o-1\",\"x\":\"\u0000é\"}"))
	sent.Metadata.Set("ce_id", "o-1/pizza")
	sent.Metadata.Set("traceparent", "00-0102")
	if err := b.Publisher().Publish("pizza", sent); err != nil {
		t.Fatal(err)
	}
	got := next(ctx, t, c)
	if got.UUID != sent.UUID || string(got.Payload) != string(sent.Payload) {
		t.Errorf("got %s %s", got.UUID, got.Payload)
	}
	for k, v := range sent.Metadata {
		if got.Metadata.Get(k) != v {
			t.Errorf("header %s: got %q, want %q", k, got.Metadata.Get(k), v)
		}
	}
	if origin, ok := bus.OriginOf(got); d.Durable {
		// What a stage has processed is remembered by it.
		if identity, err := b.Identity(ctx); err != nil || !ok || origin.Bus != identity {
			t.Errorf("it came from %q, the bus is %q, %v", origin.Bus, identity, err)
		}
	}
	got.Ack()
}

func nackComesAgainAfterGrowingWait(t *testing.T, d Driver) {
	b, ctx := open(t, d)
	c, _ := subscribe(ctx, t, b, "a")
	publish(t, b, "o-1")
	begin := time.Now()
	for range 3 {
		next(ctx, t, c).Nack()
	}
	m := next(ctx, t, c)
	m.Ack()
	if took := time.Since(begin); took < 300*time.Millisecond {
		t.Errorf("three nacks took %v: that is a hot loop", took)
	}
	if m.UUID != "o-1" {
		t.Errorf("got %s", m.UUID)
	}
}

func manyInHandAtOnce(t *testing.T, d Driver) {
	b, ctx := open(t, d)
	c, _ := subscribe(ctx, t, b, "a")
	publish(t, b, ids(128)...) // of so many keys, more than 16 are in lanes of their own
	var held []*message.Message
	for range 16 {
		held = append(held, next(ctx, t, c)) // without an acknowledgement between
	}
	for _, m := range held {
		m.Ack()
	}
}

func publisherOutlivesItsClose(t *testing.T, d Driver) {
	b, ctx := open(t, d)
	c, _ := subscribe(ctx, t, b, "a")
	if err := b.Publisher().Close(); err != nil {
		t.Fatal(err)
	}
	publish(t, b, "o-1")
	take(ctx, t, c, 1)
}

func lagCountsUnacknowledged(t *testing.T, d Driver) {
	b, ctx := open(t, d)
	ca, _ := subscribe(ctx, t, b, "a")
	cb, _ := subscribe(ctx, t, b, "b")
	// Of one key, so that they come in order: a broker that counts by offset
	// counts from the oldest one that is not acknowledged.
	publish(t, b, "o-1/1", "o-1/2", "o-1/3", "o-1/4", "o-1/5")
	take(ctx, t, ca, 5)
	take(ctx, t, cb, 2)
	want := map[string]int64{"a": 0, "b": 3}
	for got := map[string]int64{}; fmt.Sprint(got) != fmt.Sprint(want); {
		lags, err := b.Lag(ctx)
		if err != nil {
			t.Fatalf("lag: %v (got %v so far, want %v)", err, got, want)
		}
		for _, l := range lags {
			got[l.Group] = l.Messages
		}
	}
	take(ctx, t, cb, 3)
}

func drainAndRoomFollowTheBacklog(t *testing.T, d Driver) {
	b, ctx := open(t, d)
	c, _ := subscribe(ctx, t, b, "a")
	cb, _ := subscribe(ctx, t, b, "b")
	published := 0
	for published < 10_000 {
		full, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		n, err := b.Room(full, 64)
		cancel()
		if err != nil {
			break // a bus in memory is full at some point, one on disk never
		}
		publish(t, b, ids(n)...)
		published += n
		if d.Durable && published > 1000 {
			break
		}
	}
	if !d.Durable && published >= 10_000 {
		t.Fatal("the bus never was full")
	}
	for range published {
		next(ctx, t, c).Ack()
		next(ctx, t, cb).Ack()
	}
	if err := b.Drain(ctx); err != nil {
		t.Errorf("drain: %v", err)
	}
	if n, err := b.Room(ctx, 1); n != 1 || err != nil {
		t.Errorf("room after draining: %d, %v", n, err)
	}
}

func prefixesDoNotMix(t *testing.T, d Driver) {
	b1, ctx := open(t, d)
	b2, _ := open(t, d)
	c1, _ := subscribe(ctx, t, b1, "a")
	c2, _ := subscribe(ctx, t, b2, "a")
	publish(t, b1, "o-1")
	publish(t, b2, "o-2")
	if m := next(ctx, t, c1); m.UUID != "o-1" {
		t.Errorf("got %s on the first bus", m.UUID)
	} else {
		m.Ack()
	}
	if m := next(ctx, t, c2); m.UUID != "o-2" {
		t.Errorf("got %s on the second bus", m.UUID)
	} else {
		m.Ack()
	}
}

func identityIsStable(t *testing.T, d Driver) {
	b1, ctx := open(t, d)
	b2, _ := open(t, d)
	one, err := b1.Identity(ctx)
	if err != nil || one == "" {
		t.Fatalf("got %q, %v", one, err)
	}
	if again, _ := b1.Identity(ctx); again != one {
		t.Errorf("changed from %q to %q", one, again)
	}
	if other, _ := b2.Identity(ctx); other == one {
		t.Errorf("two buses are both %q", one)
	}
	if err := b1.Check(ctx); err != nil {
		t.Errorf("check: %v", err)
	}
}

func closeEndsSubscriptions(t *testing.T, d Driver) {
	b, ctx := open(t, d)
	c, s := subscribe(ctx, t, b, "a")
	publish(t, b, "o-1")
	m := next(ctx, t, c)
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	for range c {
		t.Log("a message came while closing")
	}
	select {
	case <-m.Context().Done():
	case <-ctx.Done():
		t.Error("a message in hand does not see that its session ended")
	}
	m.Ack()
}

func closedSubscriberLosesNothing(t *testing.T, d Driver) {
	if !d.Durable {
		return // what is in memory is made again from the ledger
	}
	b, ctx := open(t, d)
	c, s := subscribe(ctx, t, b, "a")
	publish(t, b, ids(10)...)
	held := next(ctx, t, c) // in hand, not acknowledged before the next one has it
	defer held.Ack()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c, _ = subscribe(ctx, t, b, "a")
	if got := take(ctx, t, c, 10); len(got) != 10 {
		t.Errorf("got %d of 10", len(got))
	}
}
