package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/pizzamill/pizzamill/internal/testservice"
	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/bus/bustest"
)

func TestPipelines(t *testing.T) {
	testservice.Kafka(t)
	bustest.RunPipelines(t, bustest.Broker{
		New: func(t *testing.T, prefix, pipeline string) bus.Bus {
			return open(t, Config{Prefix: prefix, Pipeline: pipeline})
		},
		Left: func(t *testing.T, prefix string) []string {
			var left []string
			asAdmin(t, func(admin sarama.ClusterAdmin) error {
				topics, err := admin.ListTopics()
				if err != nil {
					return err
				}
				groups, err := admin.ListConsumerGroups()
				for name := range topics {
					left = append(left, "topic "+name)
				}
				for name := range groups {
					left = append(left, "group "+name)
				}
				return err
			})
			slices.Sort(left)
			return slices.DeleteFunc(left, func(name string) bool { return !strings.Contains(name, " "+prefix) })
		},
		Remove: func(t *testing.T, prefix string) {
			asAdmin(t, func(admin sarama.ClusterAdmin) error { return admin.DeleteConsumerGroup(prefix + markerGroup) })
		},
	})
}

func asAdmin(t *testing.T, fn func(sarama.ClusterAdmin) error) {
	t.Helper()
	admin, err := sarama.NewClusterAdmin([]string{testservice.Kafka(t)}, sarama.NewConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	if err := fn(admin); err != nil {
		t.Fatal(err)
	}
}

// carrying returns a connected bus for a pipeline.
func carrying(t *testing.T, prefix, pipeline string, more ...bus.Subscription) *Bus {
	t.Helper()
	b := open(t, Config{Prefix: prefix, Pipeline: pipeline})
	t.Cleanup(func() { _ = b.Close() })
	b.Declare(append(more, bus.Subscription{Topic: "pizza-dead-letters", Group: "deadletter"}))
	connect1(t, b)
	return b
}

// marked returns what the marker under a bus's prefix says.
func marked(t *testing.T, b *Bus) (stages string) {
	t.Helper()
	err := b.control.do(func(_ sarama.Client, admin sarama.ClusterAdmin) (err error) {
		stages, err = b.control.marker.read(admin)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return stages
}

// The marker goes with the topic of dead letters, and offsets without members
// are forgotten: whoever is there writes it again.
func TestALostMarkerIsWrittenAgain(t *testing.T) {
	b := carrying(t, fresh(), "sauce,cheese")
	for what, lose := range map[string]func(sarama.ClusterAdmin) error{
		"the topic":  func(admin sarama.ClusterAdmin) error { return admin.DeleteTopic(b.topicName("pizza-dead-letters")) },
		"the offset": func(admin sarama.ClusterAdmin) error { return admin.DeleteConsumerGroup(b.control.marker.group()) },
	} {
		eventually(t, func() error {
			if marked(t, b) == "" {
				return errors.New("no marker yet")
			}
			return nil
		})
		before := b.control.seen.Load().topics[b.topicName("pizza-dead-letters")].id
		asAdmin(t, lose)
		b.control.marker.suspect() // and not in a minute
		eventually(t, func() error {
			now := b.control.seen.Load().topics[b.topicName("pizza-dead-letters")].id
			if stages := marked(t, b); stages != "sauce,cheese" || what == "the topic" && now == before {
				return fmt.Errorf("without %s: the marker is %q, the topic %v", what, stages, now)
			}
			return nil
		})
	}
	if err := b.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// Of two lines that began in the same moment one learns from the watch that the
// cluster is not its own. Should that be mended, it goes on.
func TestTheWatchFindsAnotherPipeline(t *testing.T) {
	b := carrying(t, fresh(), "sauce,cheese", pizzaForA...)
	in, _ := subscribe(t, b)
	publish(t, b, "o-1/pizza")
	take(t, in, "o-1/pizza")
	says := func(stages string) {
		t.Helper()
		other := open(t, Config{Prefix: b.config.Prefix, Pipeline: stages})
		defer func() { _ = other.Close() }()
		if err := other.control.do(func(_ sarama.Client, admin sarama.ClusterAdmin) error { return other.control.marker.write(admin) }); err != nil {
			t.Fatal(err)
		}
		b.control.marker.suspect()
	}
	says("sauce,crust")
	eventually(t, func() error {
		var other *bus.PipelineError
		if err := b.Check(context.Background()); !errors.As(err, &other) {
			return fmt.Errorf("check: %w", cmp.Or(err, errors.New("all is well")))
		} else if other.Have != "sauce,crust" || other.Want != "sauce,cheese" {
			t.Fatalf("got %+v", *other)
		}
		return nil
	})
	var other *bus.PipelineError
	if err := b.Publisher().Publish("pizza-dead-letters", message.NewMessage("o-1/pizza", nil)); !errors.As(err, &other) {
		t.Errorf("it publishes among the other line's records: %v", err)
	}
	line := carrying(t, b.config.Prefix, "sauce,crust", pizzaForA...)
	eventually(t, func() error {
		groups, err := line.Groups(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if groups[0].Consumers > 0 {
			return errors.New("it consumes what is the other line's")
		}
		return nil
	})
	publish(t, line, "o-2/pizza")
	if stages := marked(t, b); stages != "sauce,crust" {
		t.Errorf("the marker is %q: it was written over", stages)
	}
	says("sauce,cheese")
	eventually(t, func() error { return b.Check(context.Background()) })
	take(t, in, "o-2/pizza")
}

// What a process has found to be its own it writes again once an hour.
func TestTheMarkerIsRenewed(t *testing.T) {
	b := carrying(t, fresh(), "sauce,cheese")
	m := b.control.marker
	long := time.Now().Add(-2 * renewEvery)
	m.mu.Lock()
	m.written = long
	m.mu.Unlock()
	m.suspect()
	eventually(t, func() error {
		if m.isOld() {
			return errors.New("not written again")
		}
		return nil
	})
}
