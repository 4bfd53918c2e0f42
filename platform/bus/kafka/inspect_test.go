package kafka

import (
	"slices"
	"testing"

	"github.com/IBM/sarama"

	"github.com/pizzamill/pizzamill/internal/testservice"
)

// While a group shares its partitions out anew, brokers name its members and not
// what they read; they are there all the same.
func TestConsumersOfAGroup(t *testing.T) {
	unknown := &sarama.GroupMemberDescription{}
	// As the protocol of consumers writes a subscription and an assignment, version 0.
	member := func(topics ...string) *sarama.GroupMemberDescription {
		m := &sarama.GroupMemberDescription{}
		head := []byte{0, 0, 0, 0, 0, byte(len(topics))}
		m.MemberMetadata, m.MemberAssignment = slices.Clone(head), slices.Clone(head)
		for _, topic := range topics {
			name := append([]byte{0, byte(len(topic))}, topic...)
			m.MemberMetadata = append(m.MemberMetadata, name...)
			m.MemberAssignment = append(m.MemberAssignment, name...)
			m.MemberAssignment = append(m.MemberAssignment, 0, 0, 0, 1, 0, 0, 0, 0) // partition 0
		}
		m.MemberMetadata = append(m.MemberMetadata, 0, 0, 0, 0)
		m.MemberAssignment = append(m.MemberAssignment, 0, 0, 0, 0)
		return m
	}
	for _, c := range []struct {
		name, state string
		member      *sarama.GroupMemberDescription
		want        int
	}{
		{"assigned", "Stable", member("pizza"), 1},
		{"assigned another topic", "Stable", member("other"), 0},
		{"assigned nothing", "Stable", member(), 0},
		{"joining, nothing known", "PreparingRebalance", unknown, 1},
		{"syncing, nothing known", "CompletingRebalance", unknown, 1},
		{"joining for the topic", "PreparingRebalance", member("pizza"), 1},
		{"joining for another topic", "PreparingRebalance", member("other"), 0},
	} {
		d := &sarama.GroupDescription{State: c.state, Members: map[string]*sarama.GroupMemberDescription{"m": c.member}}
		if got := consumers(d, "pizza"); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// What a foreign stage has published in a transaction counts once that is
// committed, and never if it is aborted.
func TestAbortedTransactionsAreNotRead(t *testing.T) {
	broker := testservice.Kafka(t)
	prefix := fresh()
	b := connected(t, Config{Prefix: prefix})
	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	config.Net.MaxOpenRequests = 1
	config.Producer.Transaction.ID = prefix + "tx"
	p, err := sarama.NewSyncProducer([]string{broker}, config)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, value := range []string{"aborted", "kept", "aborted", "kept too"} {
		if err := p.BeginTxn(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: prefix + "pizza", Value: sarama.StringEncoder(value)}); err != nil {
			t.Fatal(err)
		}
		end := p.CommitTxn
		if value == "aborted" {
			end = p.AbortTxn
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
	}
	in, _ := subscribe(t, b)
	got := map[string]bool{}
	for range 2 {
		m := next(t, in)
		got[string(m.Payload)] = true
		m.Ack()
	}
	if !got["kept"] || !got["kept too"] {
		t.Errorf("got %v", got)
	}
}
