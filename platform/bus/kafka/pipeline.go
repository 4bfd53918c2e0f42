package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/event"
)

const (
	// markerGroup is what the group is called, behind the prefix, whose committed
	// offset is the marker.
	markerGroup = "pizzamill.pipeline-marker"
	// The marker is looked at soon after it was written, since two processes that
	// come at once both find none, and the one that writes last has it; then ever
	// less often.
	soonest, latest = time.Second, time.Minute
	// renewEvery is how often it is written again, since brokers forget the offsets
	// of groups without members, after offsets.retention.minutes: a week.
	renewEvery = time.Hour
)

// marker says on the cluster which pipeline is carried under the prefix: the
// stages go with the offset 0 that a group without members has committed of the
// topic of dead letters, which every pipeline has. With that topic it is gone,
// as is all that it speaks of.
type marker struct {
	bus      *Bus
	conflict atomic.Pointer[bus.PipelineError] // found by the watch, and not mended

	mu      sync.Mutex
	due     time.Time     // when it is looked at next
	pause   time.Duration // between the last look and that one
	written time.Time
}

func (m *marker) group() string { return m.bus.config.Prefix + markerGroup }
func (m *marker) topic() string { return m.bus.topicName(event.TopicDeadLetters) }

// Compare returns a *bus.PipelineError if another pipeline is carried under the
// prefix. It makes nothing.
func (b *Bus) Compare(ctx context.Context) error {
	if b.config.Pipeline == "" {
		return nil
	}
	var other error
	err := b.control.ask(ctx, func(client sarama.Client, admin sarama.ClusterAdmin) error {
		have, err := b.control.marker.read(admin)
		if err == nil {
			other, err = b.control.marker.differs(client, have)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("which pipeline the cluster carries: %w", err)
	}
	return other
}

// Conflicts returns what Connect would not get over: see Compare. A topic is
// used as it is.
func (b *Bus) Conflicts(ctx context.Context) error { return b.Compare(ctx) }

// claim writes the marker if there is none. If it is another pipeline's, other
// is a *bus.PipelineError.
func (m *marker) claim() (other error, err error) {
	if m.bus.config.Pipeline == "" {
		return nil, nil
	}
	err = m.bus.control.do(func(client sarama.Client, admin sarama.ClusterAdmin) error {
		have, err := m.read(admin)
		if err != nil {
			return err
		}
		if have == "" || have == m.bus.config.Pipeline && m.isOld() {
			if err := m.write(admin); err != nil {
				return err
			}
			if have, err = m.read(admin); err != nil {
				return err
			}
		}
		other, err = m.differs(client, have)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("which pipeline the cluster carries: %w", err)
	}
	return other, nil
}

// differs returns a *bus.PipelineError if the marker is there and says another
// pipeline.
func (m *marker) differs(client sarama.Client, have string) (other error, err error) {
	if have == "" || have == m.bus.config.Pipeline {
		return nil, nil
	}
	now, _, err := describe(client, m.bus.topicNames())
	if err != nil {
		return nil, err
	}
	return &bus.PipelineError{
		Bus: m.bus.identityOf(now), Have: have, Want: m.bus.config.Pipeline,
		Marker: "consumer group " + m.group(),
	}, nil
}

// read returns the stages that the marker says, "" if there is none.
func (m *marker) read(admin sarama.ClusterAdmin) (string, error) {
	answer, err := admin.ListConsumerGroupOffsets(m.group(), map[string][]int32{m.topic(): {0}})
	if err != nil {
		return "", fmt.Errorf("offset of group %s: %w", m.group(), err)
	}
	block := answer.GetBlock(m.topic(), 0)
	switch {
	case block == nil, errors.Is(block.Err, sarama.ErrUnknownTopicOrPartition):
		return "", nil
	case !errors.Is(block.Err, sarama.ErrNoError):
		return "", fmt.Errorf("offset of group %s: %w", m.group(), block.Err)
	case block.Offset < 0:
		return "", nil
	default:
		return block.Metadata, nil
	}
}

func (m *marker) write(admin sarama.ClusterAdmin) error {
	answer, err := admin.AlterConsumerGroupOffsets(m.group(), map[string]map[int32]sarama.OffsetAndMetadata{
		m.topic(): {0: {Offset: 0, LeaderEpoch: -1, Metadata: m.bus.config.Pipeline}},
	}, nil)
	if err != nil {
		return fmt.Errorf("commit an offset of group %s: %w", m.group(), err)
	}
	switch code := answer.Errors[m.topic()][0]; {
	case errors.Is(code, sarama.ErrNoError):
	case errors.Is(code, sarama.ErrUnknownTopicOrPartition): // its coordinator has yet to learn of it
		return fmt.Errorf("topic %s %w for the coordinator of group %s", m.topic(), errNotYet, m.group())
	default:
		return fmt.Errorf("commit an offset of group %s: %w", m.group(), code)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.written = time.Now()
	return nil
}

func (m *marker) isOld() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Since(m.written) > renewEvery
}

// suspect has the marker looked at soon.
func (m *marker) suspect() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pause = soonest
	m.due = time.Now().Add(soonest)
}

// isDue reports whether it is time to look at the marker, and makes up its mind
// when that will be next.
func (m *marker) isDue() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Now().Before(m.due) {
		return false
	}
	m.pause = min(max(2*m.pause, soonest), latest)
	m.due = time.Now().Add(m.pause)
	return true
}

// keep looks at the marker if it is time, writes it again where it is lost or
// old, and keeps in mind whether another pipeline has it.
func (m *marker) keep() {
	if m.bus.config.Pipeline == "" || !m.isDue() {
		return
	}
	found, err := m.claim()
	if err != nil {
		m.bus.log.Debug("the marker of the pipeline was not looked at", "error", err)
		return
	}
	var other *bus.PipelineError
	errors.As(found, &other)
	if was := m.conflict.Swap(other); was == nil && other != nil {
		m.bus.log.Error("the cluster carries another pipeline", "error", other)
		m.bus.endSessions()
	}
}
