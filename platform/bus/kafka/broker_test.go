package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"

	"github.com/pizzamill/pizzamill/platform/bus"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

var pizzaForA = []bus.Subscription{{Topic: "pizza", Group: "a"}}

// connected returns a bus on which the group a reads the topic pizza.
func connected(t testing.TB, c Config) *Bus {
	t.Helper()
	b := open(t, c)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	b.Declare(pizzaForA)
	connect1(t, b)
	return b
}

func connect1(t testing.TB, b *Bus) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.Connect(ctx); err != nil {
		t.Fatalf("connect: %v", err)
	}
}

func subscribe(t testing.TB, b *Bus) (<-chan *message.Message, message.Subscriber) {
	t.Helper()
	s := b.Subscriber("a")
	c, err := s.Subscribe(context.Background(), "pizza")
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

func publish(t testing.TB, b *Bus, ids ...string) {
	t.Helper()
	var messages []*message.Message
	for _, id := range ids {
		messages = append(messages, message.NewMessage(id, []byte("{}")))
	}
	if err := b.Publisher().Publish("pizza", messages...); err != nil {
		t.Fatalf("publish: %v", err)
	}
}

// eventually tries until fn returns nil.
func eventually(t testing.TB, fn func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for err := fn(); err != nil; err = fn() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %v", patience, err)
		}
		<-tick.C
	}
}

func next(t testing.TB, c <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-c:
		if !ok {
			t.Fatal("the subscription ended")
		}
		return m
	case <-time.After(patience):
		t.Fatal("no message came")
	}
	return nil
}

// take acknowledges messages until it has those.
func take(t testing.TB, c <-chan *message.Message, ids ...string) {
	t.Helper()
	missing := map[string]bool{}
	for _, id := range ids {
		missing[id] = true
	}
	for len(missing) > 0 {
		m := next(t, c)
		delete(missing, m.UUID)
		m.Ack()
	}
}

func ids(from, to int) (all []string) {
	for i := from; i <= to; i++ {
		all = append(all, fmt.Sprintf("o-%d/pizza", i))
	}
	return all
}

// With the stock default, OffsetNewest, none of these arrive.
func TestMessagesBeforeTheFirstJoinArrive(t *testing.T) {
	b := connected(t, Config{Prefix: fresh(), Partitions: 4})
	publish(t, b, ids(1, 100)...)
	c, _ := subscribe(t, b)
	take(t, c, ids(1, 100)...)
}

// Records of every bad kind come out as messages, and what is behind them too.
func TestForeignRecordsStopNoPartition(t *testing.T) {
	b := connected(t, Config{Prefix: fresh()})
	big := make([]byte, 900<<10)
	records := []*sarama.ProducerMessage{
		{},
		{Key: sarama.StringEncoder("k")},
		{Key: sarama.StringEncoder(""), Value: sarama.StringEncoder("no JSON")},
		{Value: sarama.ByteEncoder(big)},
		{Value: sarama.StringEncoder("{}"), Headers: []sarama.RecordHeader{{Key: []byte("\xff"), Value: []byte("\xfe")}, {Key: []byte{}, Value: nil}}},
		{Value: sarama.StringEncoder("{}"), Headers: []sarama.RecordHeader{{Key: []byte("ce_id"), Value: []byte("1")}, {Key: []byte("ce_id"), Value: []byte("2")}}},
	}
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	config.Producer.MaxMessageBytes = 2 << 20
	foreign, err := sarama.NewSyncProducer(b.config.Brokers, config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = foreign.Close() }()
	for _, r := range records {
		r.Topic = b.topicName("pizza")
		if _, _, err := foreign.SendMessage(r); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, b, "last")
	c, _ := subscribe(t, b)
	seen := map[int64]string{}
	for len(seen) < len(records)+1 {
		m := next(t, c)
		o, _ := bus.OriginOf(m)
		seen[o.Offset] = m.UUID
		if o.Offset == 3 && len(m.Payload) != len(big) {
			t.Errorf("%d bytes of %d", len(m.Payload), len(big))
		}
		m.Ack()
	}
	if diff := cmp.Diff(map[int64]string{0: "", 1: "", 2: "", 3: "", 4: "", 5: "2", 6: "last"}, seen); diff != "" {
		t.Error(diff)
	}
	eventually(t, func() error { return lagIs(b, 0) })
}

func lagIs(b *Bus, want int64) error {
	lags, err := b.Lag(context.Background())
	if err != nil {
		return err
	}
	for _, l := range lags {
		if l.Messages != want {
			return fmt.Errorf("lag %d, want %d", l.Messages, want)
		}
	}
	return nil
}

// The broker's limit can be used to the last byte, one byte more is refused for
// good, and neither concerns the other messages of the call.
func TestTheBrokersVeryLimit(t *testing.T) {
	const limit = 1048588 // max.message.bytes, Kafka's default
	b := connected(t, Config{Prefix: fresh()})
	sized := func(id string, n int) *message.Message { return message.NewMessage(id, make([]byte, n)) }
	// The size of what is around a payload is found out with the first one.
	low, high := limit-500, limit
	for low < high {
		middle := (low + high + 1) / 2
		err := b.Publisher().Publish("pizza", sized("o-1/p", middle))
		switch {
		case err == nil:
			low = middle
		case errors.Is(err, bus.ErrTooLarge):
			high = middle - 1
		default:
			t.Fatal(err)
		}
	}
	if over := limit - low; over < 50 || over > 150 {
		t.Errorf("the largest payload is %d below the limit: not what a record has around it", over)
	}
	mixed := []*message.Message{sized("o-1/a", 100), sized("o-1/b", low+1), sized("o-1/c", low-2), sized("o-1/d", 100)}
	if err := b.Publisher().Publish("pizza", mixed...); !errors.Is(err, bus.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
	c, _ := subscribe(t, b)
	take(t, c, "o-1/a", "o-1/c", "o-1/d")
}

// A topic whose limit was lowered refuses whole batches of what it would take
// one by one.
func TestARefusedBatchIsSentOneByOne(t *testing.T) {
	b := connected(t, Config{Prefix: fresh()})
	small := "2000"
	err := b.control.do(func(_ sarama.Client, admin sarama.ClusterAdmin) error {
		return admin.IncrementalAlterConfig(sarama.TopicResource, b.topicName("pizza"), map[string]sarama.IncrementalAlterConfigsEntry{
			"max.message.bytes": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &small},
		}, false)
	})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, b, ids(1, 200)...)
	c, _ := subscribe(t, b)
	take(t, c, ids(1, 200)...)
}

// Several topics under one group name stop each other at every restart.
func TestAGroupOfSeveralTopicsIsOnePerTopic(t *testing.T) {
	prefix := fresh()
	b := open(t, Config{Prefix: prefix, Partitions: 2})
	defer func() { _ = b.Close() }()
	b.Declare([]bus.Subscription{{Topic: "pizza", Group: "sauce"}, {Topic: "pizza", Group: "journal"}, {Topic: "pizza-with-sauce", Group: "journal"}})
	connect1(t, b)
	for _, topic := range []string{"pizza", "pizza-with-sauce"} {
		if _, err := b.Subscriber("journal").Subscribe(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		prefix + "pizzamill.sauce false 0",
		prefix + "pizzamill.journal.pizza true 1",
		prefix + "pizzamill.journal.pizza-with-sauce true 1",
	}
	eventually(t, func() error {
		groups, err := b.Groups(context.Background())
		if err != nil {
			return err
		}
		var got []string
		for _, g := range groups {
			got = append(got, fmt.Sprint(g.Name, " ", g.Exists, " ", g.Consumers))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

// While members come and go a key is in one hand only, and in order: whatever
// comes again, nothing comes before what it follows.
func TestAKeyIsInOrderOverRebalances(t *testing.T) {
	config := Config{Prefix: fresh(), Partitions: 8}
	source := connected(t, config)
	const keys, each = 40, 100
	var mu sync.Mutex
	last, inHand := map[string]int{}, map[string]bool{}
	handle := func(m *message.Message) {
		var n int
		key, number, _ := strings.Cut(m.UUID, "/")
		if _, err := fmt.Sscan(number, &n); err != nil {
			t.Error(err)
		}
		mu.Lock()
		if inHand[key] {
			t.Errorf("key %s is in two hands", key)
		}
		if n > last[key]+1 {
			t.Errorf("key %s: %d came after %d", key, n, last[key])
		}
		inHand[key], last[key] = true, max(last[key], n)
		mu.Unlock()
		time.AfterFunc(time.Millisecond, func() {
			mu.Lock()
			inHand[key] = false
			mu.Unlock()
			m.Ack()
		})
	}
	var readers sync.WaitGroup
	join := func() message.Subscriber {
		c, s := subscribe(t, connected(t, config))
		readers.Go(func() {
			for m := range c {
				handle(m)
			}
		})
		return s
	}
	stays := join()
	var publishing sync.WaitGroup
	for k := range keys {
		publishing.Go(func() {
			for n := 1; n <= each; n++ {
				if err := source.Publisher().Publish("pizza", message.NewMessage(fmt.Sprintf("k%d/%d", k, n), nil)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	reached := func(n int) {
		eventually(t, func() error {
			mu.Lock()
			defer mu.Unlock()
			sum := 0
			for _, l := range last {
				sum += l
			}
			if sum < n {
				return fmt.Errorf("%d of %d", sum, n)
			}
			return nil
		})
	}
	reached(keys * each / 10)
	second := join()
	reached(keys * each / 3)
	third := join()
	reached(keys * each * 2 / 3)
	for _, s := range []message.Subscriber{second, third} {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	reached(keys * each)
	publishing.Wait()
	if err := stays.Close(); err != nil {
		t.Error(err)
	}
	readers.Wait()
}

// A nacked message comes again to whoever has the partition, and to nobody else.
func TestANackedMessageGoesWithItsPartition(t *testing.T) {
	config := Config{Prefix: fresh()}
	first, second := connected(t, config), connected(t, config)
	publish(t, first, "o-1/pizza")
	c1, s1 := subscribe(t, first)
	next(t, c1).Nack()
	if err := s1.Close(); err != nil {
		t.Fatal(err)
	}
	for range c1 {
		t.Error("it comes to who has left the group")
	}
	c2, _ := subscribe(t, second)
	take(t, c2, "o-1/pizza")
	eventually(t, func() error { return lagIs(second, 0) })
}
