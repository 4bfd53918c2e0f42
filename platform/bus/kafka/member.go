package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// member is a subscription's member of its group, and handles the claims of
// its sessions.
type member struct {
	subscription *subscription
	client       sarama.Client
	group        sarama.ConsumerGroup
	keepPrompt   func() // see afterEnd
}

// newMember connects. Its first session joins the group.
func newMember(s *subscription) (*member, error) {
	l := newLinks(s.bus.settings)
	client, err := connect(s.bus.config.Brokers, s.bus.settings.consumer(l), []string{s.topic})
	if err != nil {
		return nil, err
	}
	group, err := sarama.NewConsumerGroupFromClient(s.group, client)
	if err != nil {
		_ = client.Close()
		return nil, fmt.Errorf("consumer group: %w", err)
	}
	m := &member{subscription: s, client: client, group: group}
	// A broker that does not answer must not keep the process from ending.
	m.keepPrompt = afterEnd(s.ctx, s.bus.closeGrace+answerTimeout, l.cut)
	return m, nil
}

// leave leaves the group and closes the connections. nil has nothing to leave.
func (m *member) leave() {
	if m == nil {
		return
	}
	if err := m.group.Close(); err != nil {
		m.subscription.bus.log.Debug("leave", "group", m.subscription.group, "error", err)
	}
	m.keepPrompt()
	_ = m.client.Close()
}

// afterEnd calls fn a while after ctx has ended, unless what it returns is
// called before.
func afterEnd(ctx context.Context, wait time.Duration, fn func()) (stop func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
		case <-done:
			return
		}
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
			fn()
		case <-done:
		}
	}()
	return func() { close(done) }
}

var _ sarama.ConsumerGroupHandler = (*member)(nil)

// Setup has nothing to do.
func (*member) Setup(sarama.ConsumerGroupSession) error { return nil }

// Cleanup has nothing to do.
func (*member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim reads a partition until it is taken away. It returns when
// nothing of it is in hand any more.
func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	id, identity, err := m.start(session, claim)
	if err != nil {
		m.subscription.bus.log.Debug("partition not taken", "topic", claim.Topic(), "partition", claim.Partition(), "error", err)
		return err // which ends the session
	}
	ctx, cancel := context.WithCancel(session.Context())
	defer cancel()
	c := newClaim(ctx, partition{
		bus:    identity,
		mark:   func(offset int64) { session.MarkOffset(claim.Topic(), claim.Partition(), offset, id) },
		pause:  func() { m.group.Pause(map[string][]int32{claim.Topic(): {claim.Partition()}}) },
		resume: func() { m.group.Resume(map[string][]int32{claim.Topic(): {claim.Partition()}}) },
		share:  func() int { return max(1, len(session.Claims()[claim.Topic()])) },
	})
	for open := true; open; {
		select {
		case r, ok := <-claim.Messages():
			if open = ok; ok {
				m.subscription.lanes.Add(c.add(r))
			}
		case <-ctx.Done():
			open = false
		}
	}
	cancel()
	c.end(m.subscription.ctx, m.subscription.bus.closeGrace)
	return nil
}

var errReplaced = errors.New("the topic is not the one that the offsets are of")

// start compares the offset at which the claim begins with what was committed,
// and returns the ID of the topic, which goes with all that is committed from
// here on, and the identity of the bus, which goes with all that is read.
func (m *member) start(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) (id, identity string, err error) {
	// On connections of the control, where no fetch is waited for.
	err = m.subscription.bus.control.do(func(client sarama.Client, admin sarama.ClusterAdmin) error {
		id, identity, err = m.compare(session, claim, client, admin)
		return err
	})
	if err == nil {
		m.subscription.standsOn(id)
	}
	return id, identity, err
}

func (m *member) compare(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim,
	client sarama.Client, admin sarama.ClusterAdmin,
) (id, identity string, err error) {
	name, p := claim.Topic(), claim.Partition()
	now, _, err := describe(client, []string{name})
	if err != nil {
		return "", "", err
	}
	t, ok := now.topics[name]
	if !ok {
		return "", "", fmt.Errorf("topic %s: %w", name, sarama.ErrUnknownTopicOrPartition)
	}
	commits, err := committed(admin, m.subscription.group, name, []int32{p})
	if err != nil {
		return "", "", err
	}
	replaced := commits[p].offset >= 0 && !commits[p].isOf(t.id)
	outOfRange := commits[p].offset >= 0 && claim.InitialOffset() < 0
	if replaced || outOfRange {
		// Marks count upwards only, so what was committed is taken back.
		oldest, err := client.GetOffset(name, p, sarama.OffsetOldest)
		if err != nil {
			return "", "", fmt.Errorf("oldest offset of %s, partition %d: %w", name, p, err)
		}
		session.ResetOffset(name, p, oldest, topicID(t.id))
	}
	if replaced && !outOfRange {
		return "", "", errReplaced // the next session begins at the oldest record
	}
	return topicID(t.id), m.subscription.bus.identityOf(now), nil
}
