package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/pizzamill/pizzamill/platform/bus"
)

// Identity returns kafka/prefix/cluster ID, as the cluster says it is now. A
// cluster of fresh brokers has another ID, also at the same address.
func (b *Bus) Identity(ctx context.Context) (string, error) {
	s := b.control.seen.Load()
	if s == nil || s.err != nil || time.Since(s.at) > staleAfter {
		err := b.control.ask(ctx, func(client sarama.Client, _ sarama.ClusterAdmin) (err error) {
			s, _, err = describe(client, b.topicNames())
			return err
		})
		if err != nil {
			return "", fmt.Errorf("identity of the cluster: %w", err)
		}
	}
	return b.identityOf(s), nil
}

func (b *Bus) identityOf(s *sight) string { return "kafka/" + b.config.Prefix + "/" + s.cluster }

var errNotYet = errors.New("does not exist")

// Check returns nil if the cluster answered lately, had every topic, and carries
// no other pipeline. It asks nobody itself, so that it never takes long.
func (b *Bus) Check(context.Context) error {
	s := b.control.seen.Load()
	if other := b.control.marker.conflict.Load(); other != nil {
		return other
	}
	switch {
	case s == nil:
		return errors.New("not connected to Kafka yet")
	case s.err != nil:
		return fmt.Errorf("kafka: %w", s.err)
	case time.Since(s.at) > staleAfter:
		return fmt.Errorf("no answer from Kafka for %v", time.Since(s.at).Round(time.Second))
	}
	for _, name := range b.topicNames() {
		if _, ok := s.topics[name]; !ok {
			return fmt.Errorf("topic %s %w", name, errNotYet)
		}
	}
	return nil
}

// Lag returns, for each declared subscription, the records that come after the
// offsets which its group committed, up to half a second ago. Of a group that
// has committed nothing these are all records.
func (b *Bus) Lag(ctx context.Context) ([]bus.Lag, error) {
	var lags []bus.Lag
	err := b.control.ask(ctx, func(client sarama.Client, admin sarama.ClusterAdmin) (err error) {
		lags, err = b.lag(client, admin)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("lag: %w", err)
	}
	return lags, nil
}

func (b *Bus) lag(client sarama.Client, admin sarama.ClusterAdmin) ([]bus.Lag, error) {
	now, _, err := describe(client, b.topicNames())
	if err != nil {
		return nil, err
	}
	if len(now.topics) == 0 {
		return nil, errors.New("no topics yet")
	}
	oldest, err := offsets(client, admin, now, sarama.OffsetOldest)
	if err != nil {
		return nil, err
	}
	newest, err := offsets(client, admin, now, sarama.OffsetNewest)
	if err != nil {
		return nil, err
	}
	var lags []bus.Lag
	for _, s := range b.subs() {
		name := b.topicName(s.Topic)
		t, ok := now.topics[name]
		if !ok {
			continue
		}
		done, err := committed(admin, b.groupName(s.Group, s.Topic), name, t.partitions)
		if err != nil {
			return nil, err
		}
		l := bus.Lag{Subscription: s}
		for _, p := range t.partitions {
			from := oldest[name][p]
			if c := done[p]; c.isOf(t.id) && c.offset <= newest[name][p] {
				from = max(from, c.offset)
			}
			l.Messages += max(0, newest[name][p]-from)
		}
		lags = append(lags, l)
	}
	return lags, nil
}

// offsets returns an end of every partition.
func offsets(client sarama.Client, admin sarama.ClusterAdmin, s *sight, which int64) (map[string]map[int32]int64, error) {
	ask := map[string]map[int32]int64{}
	for name, t := range s.topics {
		ask[name] = map[int32]int64{}
		for _, p := range t.partitions {
			ask[name][p] = which
		}
	}
	answers, err := admin.ListOffsets(ask, nil)
	if err != nil {
		return nil, fmt.Errorf("offsets of the topics: %w", err)
	}
	for name, partitions := range answers {
		for p, a := range partitions {
			if a.Err != nil && !errors.Is(a.Err, sarama.ErrNoError) {
				_ = client.RefreshMetadata(name) // for the next time
				return nil, fmt.Errorf("offset of %s, partition %d: %w", name, p, a.Err)
			}
			ask[name][p] = a.Offset
		}
	}
	return ask, nil
}

// commit is what a group has committed of a partition. With it goes the ID of
// the topic: one that is deleted and created again starts at 0, and an old
// offset would pass over what is in the new one.
type commit struct {
	offset  int64 // -1 if there is none
	topicID string
}

// isOf reports whether there is a commit, and it is of the topic with that ID.
// One without a topic ID was made by somebody else's tool, and is believed.
func (c commit) isOf(id sarama.Uuid) bool {
	return c.offset >= 0 && (c.topicID == "" || c.topicID == topicID(id))
}

// topicID returns an ID as it stands in a commit; "" if the broker is too old
// to have one.
func topicID(id sarama.Uuid) string {
	if id == (sarama.Uuid{}) {
		return ""
	}
	return id.String()
}

// committed returns a group's commits of a topic.
func committed(admin sarama.ClusterAdmin, group, name string, partitions []int32) (map[int32]commit, error) {
	answer, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{name: partitions})
	if err != nil {
		return nil, fmt.Errorf("offsets of group %s: %w", group, err)
	}
	commits := map[int32]commit{}
	for _, p := range partitions {
		block := answer.GetBlock(name, p)
		switch {
		case block == nil:
			commits[p] = commit{offset: -1}
		case !errors.Is(block.Err, sarama.ErrNoError):
			return nil, fmt.Errorf("offset of group %s in %s, partition %d: %w", group, name, p, block.Err)
		default:
			commits[p] = commit{offset: block.Offset, topicID: block.Metadata}
		}
	}
	return commits, nil
}

// Groups returns who consumes: the members whose assignment has partitions of
// the topic, or while a group shares its partitions out anew, its members.
func (b *Bus) Groups(ctx context.Context) ([]bus.Group, error) {
	var groups []bus.Group
	err := b.control.ask(ctx, func(client sarama.Client, admin sarama.ClusterAdmin) (err error) {
		groups, err = b.groups(client, admin)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("consumer groups: %w", err)
	}
	return groups, nil
}

func (b *Bus) groups(client sarama.Client, admin sarama.ClusterAdmin) ([]bus.Group, error) {
	now, _, err := describe(client, b.topicNames())
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, s := range b.subs() {
		names[b.groupName(s.Group, s.Topic)] = true
	}
	answers, err := admin.DescribeConsumerGroups(slices.Sorted(maps.Keys(names)))
	if err != nil {
		return nil, fmt.Errorf("describe: %w", err)
	}
	described := map[string]*sarama.GroupDescription{}
	for _, g := range answers {
		described[g.GroupId] = g
	}
	var groups []bus.Group
	for _, s := range b.subs() {
		name := b.topicName(s.Topic)
		g := bus.Group{Subscription: s, Name: b.groupName(s.Group, s.Topic)}
		_, there := now.topics[name]
		if d := described[g.Name]; d != nil && there && d.State != "Dead" && errors.Is(d.Err, sarama.ErrNoError) {
			g.Exists = true
			g.Consumers = consumers(d, name)
		}
		groups = append(groups, g)
	}
	return groups, nil
}

func consumers(d *sarama.GroupDescription, topic string) int {
	n := 0
	for _, m := range d.Members {
		if d.State == "Stable" {
			if a, err := m.GetMemberAssignment(); err == nil && a != nil && len(a.Topics[topic]) > 0 {
				n++
			}
		} else if wants, err := m.GetMemberMetadata(); err == nil && (wants == nil || slices.Contains(wants.Topics, topic)) {
			n++ // most brokers name the members only, and a group of ours reads one topic
		}
	}
	return n
}

// Partitions returns how many partitions each declared topic has. One that does
// not exist is left out.
func (b *Bus) Partitions(ctx context.Context) (map[string]int, error) {
	var s *sight
	err := b.control.ask(ctx, func(client sarama.Client, _ sarama.ClusterAdmin) (err error) {
		s, _, err = describe(client, b.topicNames())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("partitions: %w", err)
	}
	n := map[string]int{}
	for name, t := range s.topics {
		n[strings.TrimPrefix(name, b.config.Prefix)] = len(t.partitions)
	}
	return n, nil
}
