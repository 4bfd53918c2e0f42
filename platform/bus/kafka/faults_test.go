package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"
)

// A stock Publish takes more than 12 s with the broker down, and blocks with
// one that does not answer.
func TestPublishEndsInTime(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // never accepts
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	for name, broker := range map[string]string{"refused": "127.0.0.1:1", "no answer": silent.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := open(t, Config{Brokers: []string{broker}})
			begin := time.Now()
			if err := b.Publisher().Publish("pizza", message.NewMessage("o-1/pizza", nil)); err == nil {
				t.Error("published to nobody")
			}
			if took := time.Since(begin); took > publishTimeout+time.Second {
				t.Errorf("took %v", took)
			}
			if err := b.Check(t.Context()); err == nil {
				t.Error("ready without a broker")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if id, err := b.Identity(ctx); err == nil {
				t.Errorf("identity %s without a broker", id)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Subscribed while the broker is away, cut off, cut off again: the one channel
// gets everything.
func TestASubscriptionOutlivesTheBrokersAbsence(t *testing.T) {
	config := Config{Prefix: fresh(), Partitions: 2}
	other := connected(t, config)
	b := open(t, config)
	n := through(t, b)
	t.Cleanup(func() { _ = b.Close() })
	n.set("down")
	b.Declare(pizzaForA)
	c, _ := subscribe(t, b)
	if err := b.Connect(t.Context()); err == nil {
		t.Error("connected to nobody")
	}
	n.set("")
	eventually(t, func() error { return b.Connect(t.Context()) })
	publish(t, other, ids(1, 10)...)
	take(t, c, ids(1, 10)...)
	n.set("down")
	eventually(t, func() error {
		if b.Check(t.Context()) == nil {
			return fmt.Errorf("still ready")
		}
		return nil
	})
	if err := b.Publisher().Publish("pizza", message.NewMessage("o-1/lost", nil)); err == nil {
		t.Error("published to nobody")
	}
	publish(t, other, ids(11, 20)...)
	n.set("")
	take(t, c, ids(11, 20)...)
	eventually(t, func() error { return b.Check(t.Context()) })
	eventually(t, func() error {
		return b.Publisher().Publish("pizza", message.NewMessage("o-21/pizza", nil))
	})
	take(t, c, "o-21/pizza")
}

// A machine or a firewall that vanishes leaves connections behind that swallow
// everything. A member of a group once waited on one for 65 s, and a producer for
// ten, while the bus said that all was well.
func TestConnectionsThatSwallowEverythingAreCut(t *testing.T) {
	t.Parallel()
	config := Config{Prefix: fresh(), Partitions: 2}
	other := connected(t, config)
	b := open(t, config)
	n := through(t, b)
	t.Cleanup(func() { _ = b.Close() })
	b.Declare(pizzaForA)
	connect1(t, b)
	c, _ := subscribe(t, b)
	publish(t, b, "o-1/pizza")
	take(t, c, "o-1/pizza")
	n.mute()
	begin := time.Now()
	publish(t, other, "o-2/pizza")
	take(t, c, "o-2/pizza")
	t.Logf("read again after %v", time.Since(begin))
	eventually(t, func() error {
		return b.Publisher().Publish("pizza", message.NewMessage("o-3/pizza", nil))
	})
	take(t, c, "o-3/pizza")
	t.Logf("written again after %v", time.Since(begin))
	if took := time.Since(begin); took > 40*time.Second { // a member waited for 65, and a producer then for 10
		t.Errorf("took %v", took)
	}
}

// Only what has been silent for long enough is cut, and looked after no more.
func TestOnlySilentConnectionsAreCut(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	s := &settings{wires: newWires(), dial: func(string, string) (net.Conn, error) { return near, nil }}
	conn, err := newLinks(s).Dial("tcp", "kafka:9092")
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if n := s.wires.cutSilent(begin.Add(-time.Minute)); n != 0 {
		t.Error("cut too early")
	}
	go func() { _, _ = far.Write([]byte("x")) }()
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if n := s.wires.cutSilent(begin); n != 0 {
		t.Error("cut although something came in")
	}
	for _, want := range []int{1, 0} {
		if n := s.wires.cutSilent(time.Now()); n != want {
			t.Errorf("%d cut, want %d", n, want)
		}
	}
	if _, err := conn.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("write to a connection that was cut: %v", err)
	}
	_ = conn.Close()
}

// What the cluster refuses says nothing about connections; that one is broken does.
func TestRefusalsAreNoTrouble(t *testing.T) {
	c := newControl(nil)
	for _, err := range []error{errReplaced, errNotYet, sarama.ErrGroupAuthorizationFailed, fmt.Errorf("x: %w", sarama.ErrUnknownTopicOrPartition)} {
		if c.suspect(err); c.trouble.Load() != 0 {
			t.Errorf("%v is trouble", err)
			c.trouble.Store(0)
		}
	}
	for _, err := range []error{io.EOF, fmt.Errorf("x: %w", sarama.ErrOutOfBrokers), &net.OpError{Op: "read", Err: errors.New("i/o timeout")}} {
		if c.suspect(err); c.trouble.Swap(0) == 0 {
			t.Errorf("%v is no trouble", err)
		}
	}
}

// A process that stood still beyond its session timeout (SIGSTOP, a suspended
// machine) has lost its partitions: it sees so by the context of what it has in
// hand, somebody else goes on, and it comes back by itself.
func TestAPausedMemberLosesItsSessionAndComesBack(t *testing.T) {
	config := Config{Prefix: fresh(), Partitions: 2}
	b := open(t, config)
	b.settings.session, b.settings.beat = 2*time.Second, 500*time.Millisecond
	n := through(t, b)
	t.Cleanup(func() { _ = b.Close() })
	b.Declare(pizzaForA)
	connect1(t, b)
	c, _ := subscribe(t, b)
	publish(t, b, "o-1/pizza")
	held := next(t, c)
	n.set("silent")
	other := connected(t, config)
	oc, os := subscribe(t, other)
	take(t, oc, "o-1/pizza")
	n.set("")
	select {
	case <-held.Context().Done():
	case <-time.After(patience):
		t.Error("the lost session is not to be seen")
	}
	held.Ack()
	if err := os.Close(); err != nil {
		t.Error(err)
	}
	publish(t, other, ids(2, 20)...)
	take(t, c, ids(2, 20)...)
	eventually(t, func() error { return lagIs(b, 0) })
}

// A topic that was deleted and came again begins at 0. Sarama fetches on from
// where it was in the old one, and passes over what comes before that.
func TestATopicThatWasReplacedIsReadFromItsBeginning(t *testing.T) {
	b := connected(t, Config{Prefix: fresh()})
	c, _ := subscribe(t, b)
	publish(t, b, ids(1, 50)...)
	take(t, c, ids(1, 50)...)
	err := b.control.do(func(_ sarama.Client, admin sarama.ClusterAdmin) error { return admin.DeleteTopic(b.topicName("pizza")) })
	if err != nil {
		t.Fatal(err)
	}
	// The watch creates it again; publishing succeeds once it has.
	for _, id := range ids(101, 200) {
		eventually(t, func() error { return b.Publisher().Publish("pizza", message.NewMessage(id, nil)) })
	}
	take(t, c, ids(101, 200)...)
	eventually(t, func() error { return lagIs(b, 0) })
}

// So it is with what somebody had committed before, also where the offset would
// be a valid one.
func TestOffsetsOfAReplacedTopicAreNotUsed(t *testing.T) {
	t.Parallel()
	for name, old := range map[string]sarama.OffsetAndMetadata{
		"within the new one": {Offset: 15, Metadata: sarama.Uuid{1}.String(), LeaderEpoch: -1},
		"beyond the new one": {Offset: 1000, Metadata: sarama.Uuid{1}.String(), LeaderEpoch: -1},
		"out of range":       {Offset: 1000, LeaderEpoch: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := connected(t, Config{Prefix: fresh()})
			publish(t, b, ids(1, 20)...)
			err := b.control.do(func(_ sarama.Client, admin sarama.ClusterAdmin) error {
				_, err := admin.AlterConsumerGroupOffsets(b.groupName("a", "pizza"),
					map[string]map[int32]sarama.OffsetAndMetadata{b.topicName("pizza"): {0: old}}, nil)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := lagIs(b, 20); err != nil {
				t.Error(err)
			}
			c, _ := subscribe(t, b)
			take(t, c, ids(1, 20)...)
			eventually(t, func() error { return lagIs(b, 0) })
		})
	}
}

// An offset that somebody set by a tool of their own is believed.
func TestOffsetsThatWereResetAreUsed(t *testing.T) {
	b := connected(t, Config{Prefix: fresh()})
	publish(t, b, ids(1, 20)...)
	err := b.control.do(func(_ sarama.Client, admin sarama.ClusterAdmin) error {
		_, err := admin.AlterConsumerGroupOffsets(b.groupName("a", "pizza"),
			map[string]map[int32]sarama.OffsetAndMetadata{b.topicName("pizza"): {0: {Offset: 15, LeaderEpoch: -1}}}, nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c, _ := subscribe(t, b)
	if m := next(t, c); m.UUID < "o-16/pizza" {
		t.Errorf("got %s", m.UUID)
	} else {
		m.Ack()
	}
}

// Another number of partitions is used as it is.
func TestAnotherNumberOfPartitionsIsUsed(t *testing.T) {
	prefix := fresh()
	connected(t, Config{Prefix: prefix, Partitions: 3})
	b := connected(t, Config{Prefix: prefix, Partitions: 8})
	publish(t, b, ids(1, 50)...)
	c, _ := subscribe(t, b)
	take(t, c, ids(1, 50)...)
	if n := len(b.control.seen.Load().topics[b.topicName("pizza")].partitions); n != 3 {
		t.Errorf("%d partitions", n)
	}
}

// A producer that failed is replaced, whatever state it was left in: here
// somebody else has fenced it off by its own producer ID.
func TestAFencedProducerIsReplaced(t *testing.T) {
	b := connected(t, Config{Prefix: fresh()})
	publish(t, b, "o-1/pizza")
	fence(t, b, lastProducerID(t, b))
	old := b.publisher.together.take()
	if err := b.Publisher().Publish("pizza", message.NewMessage("o-2/pizza", nil)); err == nil {
		t.Error("published with a fenced epoch")
	}
	if b.publisher.together.take() == old {
		t.Error("the producer that failed is still in use")
	}
	publish(t, b, "o-3/pizza")
	c, _ := subscribe(t, b)
	take(t, c, "o-1/pizza", "o-3/pizza")
}

// lastProducerID returns who wrote the first batch of the topic.
func lastProducerID(t *testing.T, b *Bus) (id int64) {
	t.Helper()
	err := b.control.do(func(client sarama.Client, _ sarama.ClusterAdmin) error {
		leader, err := client.Leader(b.topicName("pizza"), 0)
		if err != nil {
			return err
		}
		r := &sarama.FetchRequest{Version: 10, MinBytes: 1, MaxWaitTime: 1000, MaxBytes: 1 << 20, SessionEpoch: -1}
		r.AddBlock(b.topicName("pizza"), 0, 0, 1<<20, -1)
		answer, err := leader.Fetch(r)
		if err != nil {
			return err
		}
		id = answer.GetBlock(b.topicName("pizza"), 0).RecordsSet[0].RecordBatch.ProducerID
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// fence writes a batch under a producer ID with a later epoch.
func fence(t *testing.T, b *Bus, id int64) {
	t.Helper()
	err := b.control.do(func(client sarama.Client, _ sarama.ClusterAdmin) error {
		leader, err := client.Leader(b.topicName("pizza"), 0)
		if err != nil {
			return err
		}
		r := &sarama.ProduceRequest{Version: 7, RequiredAcks: sarama.WaitForAll, Timeout: 5000}
		r.AddBatch(b.topicName("pizza"), 0, &sarama.RecordBatch{
			Version: 2, FirstTimestamp: time.Now(), MaxTimestamp: time.Now(), ProducerID: id, ProducerEpoch: 100,
			Records: []*sarama.Record{{Value: []byte("{}")}},
		})
		answer, err := leader.Produce(r)
		if err != nil {
			return err
		}
		if block := answer.GetBlock(b.topicName("pizza"), 0); block.Err != sarama.ErrNoError {
			return block.Err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Closing is quick also where the broker does not answer any more.
func TestCloseWithASilentBroker(t *testing.T) {
	t.Parallel()
	b := open(t, Config{Prefix: fresh()})
	n := through(t, b)
	b.Declare(pizzaForA)
	connect1(t, b)
	c, _ := subscribe(t, b)
	publish(t, b, "o-1/pizza")
	take(t, c, "o-1/pizza")
	n.set("silent")
	begin := time.Now()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
	if _, err := b.Subscriber("a").Subscribe(t.Context(), "pizza"); err == nil {
		t.Error("subscribed on a closed bus")
	}
	if err := b.Publisher().Publish("pizza", message.NewMessage("o-1/pizza", nil)); err == nil {
		t.Error("published on a closed bus")
	}
}
