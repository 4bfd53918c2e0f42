package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/pizzamill/pizzamill/platform/bus"
)

const (
	// watchEvery is how often the cluster is asked whether all is as it was.
	watchEvery = time.Second
	// staleAfter is the age from which on an answer says nothing any more.
	staleAfter = 3 * time.Second
)

// connect returns a client that knows the cluster, of the topics those that
// exist. It fails if no broker answers.
func connect(brokers []string, c *sarama.Config, topics []string) (sarama.Client, error) {
	client, err := sarama.NewClient(brokers, c)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	// A topic that is missing is an error too, but the brokers are known then.
	if err := client.RefreshMetadata(topics...); err != nil && len(client.Brokers()) == 0 {
		_ = client.Close()
		return nil, fmt.Errorf("reach the cluster: %w", err)
	}
	return client, nil
}

// control asks the cluster about itself and changes it, on connections of its own.
type control struct {
	bus *Bus

	turn   chan struct{} // has a value during a conversation
	client sarama.Client
	admin  sarama.ClusterAdmin
	warned map[string]int // topics with another number of partitions: that number

	marker   *marker
	links    atomic.Pointer[links] // of client
	seen     atomic.Pointer[sight] // nil before the first answer
	watching sync.Once
	trouble  atomic.Int64 // when a connection was last found broken, in Unix ns; or 0
	closing  context.Context
	stop     context.CancelFunc
	running  sync.WaitGroup
}

// sight is the cluster as it answered last, or why it did not.
type sight struct {
	at      time.Time
	err     error
	cluster string
	topics  map[string]topic // by Kafka's names, those that exist
}

// topic is a topic that exists. Its ID is another one after it was deleted and
// created again; before Kafka 2.8 it has none.
type topic struct {
	id         sarama.Uuid
	partitions []int32
}

func newControl(b *Bus) *control {
	ctx, stop := context.WithCancel(context.Background())
	return &control{
		bus: b, marker: &marker{bus: b}, turn: make(chan struct{}, 1), warned: map[string]int{}, closing: ctx, stop: stop,
	}
}

// do has a conversation. It begins it again on a new connection if the one that
// is open is no good any more, which nobody notices before it is used.
func (c *control) do(fn func(sarama.Client, sarama.ClusterAdmin) error) error {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	return c.talk(fn)
}

// ask is do for somebody who has no time: it returns when ctx ends, also while
// others are having a conversation. A cluster that hangs then has one goroutine
// waiting for it, and not one for each question.
func (c *control) ask(ctx context.Context, fn func(sarama.Client, sarama.ClusterAdmin) error) error {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("the cluster is slow to answer: %w", ctx.Err())
	}
	return within(ctx, func() error {
		defer func() { <-c.turn }()
		return c.talk(fn)
	})
}

func (c *control) talk(fn func(sarama.Client, sarama.ClusterAdmin) error) error {
	reused := c.client != nil
	err := c.converse(fn)
	if err != nil && reused {
		c.suspect(err)
		err = c.converse(fn)
	}
	return err
}

func (c *control) converse(fn func(sarama.Client, sarama.ClusterAdmin) error) error {
	if c.closing.Err() != nil {
		return errClosed
	}
	if c.client == nil {
		l := newLinks(c.bus.settings)
		l.wires = nil // it looks after itself: all that it asks is answered in time
		c.links.Store(l)
		config := c.bus.settings.base(l)
		config.Metadata.Retry.Max = 0
		client, err := connect(c.bus.config.Brokers, config, c.bus.topicNames())
		if err != nil {
			return err
		}
		admin, err := sarama.NewClusterAdminFromClient(client)
		if err != nil {
			_ = client.Close()
			return fmt.Errorf("find the controller: %w", err)
		}
		c.client, c.admin = client, admin
	}
	err := fn(c.client, c.admin)
	if err != nil {
		c.hangUp()
	}
	return err
}

func (c *control) hangUp() {
	if c.client != nil {
		_ = c.client.Close()
		c.client, c.admin = nil, nil
	}
}

// prepare makes the declared topics exist, and returns nil when all of them can
// be written to. Where another pipeline is carried it makes nothing.
func (c *control) prepare() error {
	if err := c.bus.Compare(context.Background()); err != nil {
		return err
	}
	if err := c.look(); err != nil {
		return err
	}
	if err := c.bus.Check(context.Background()); err != nil {
		return err
	}
	other, err := c.marker.claim()
	if err != nil {
		return err
	}
	if other != nil {
		return other // it came at the same moment
	}
	c.marker.suspect()
	_ = c.do(func(_ sarama.Client, admin sarama.ClusterAdmin) error {
		limit, err := batchLimit(admin, c.bus.topicNames())
		if err == nil {
			c.bus.publisher.batchLimit.Store(int64(limit))
		}
		return err // without it batches that are refused are sent one by one
	})
	return nil
}

// create creates topics.
func (c *control) create(admin sarama.ClusterAdmin, names []string) error {
	for _, name := range names {
		err := admin.CreateTopic(name, &sarama.TopicDetail{
			NumPartitions:     int32(c.bus.config.Partitions),
			ReplicationFactor: int16(c.bus.config.ReplicationFactor),
		}, false)
		if errors.Is(err, sarama.ErrTopicAlreadyExists) {
			continue // another process was faster
		}
		var refused *sarama.TopicError
		if errors.As(err, &refused) && errors.Is(refused.Err, sarama.ErrInvalidTopic) {
			// Such as one that differs from another in . and _ alone.
			return &bus.ConflictError{What: "topic " + name, Have: "no name of its own (" + err.Error() + ")", Want: "one"}
		}
		if err != nil {
			return fmt.Errorf("create topic %s: %w", name, err)
		}
		c.bus.log.Info("topic created", "topic", name, "partitions", c.bus.config.Partitions)
	}
	return nil
}

// watch looks after the cluster until the bus is closed.
func (c *control) watch() {
	c.watching.Do(func() {
		c.running.Go(func() {
			tick := time.NewTicker(watchEvery)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					if c.look() == nil { // else Check says it
						c.marker.keep()
					}
				case <-c.closing.Done():
					return
				}
			}
		})
	})
}

// look asks the cluster how it is, creates what it has lost, and tells
// publisher and subscriptions if a topic is not the one that it was.
func (c *control) look() error {
	var now *sight
	err := c.do(func(client sarama.Client, admin sarama.ClusterAdmin) (err error) {
		var missing []string
		now, missing, err = describe(client, c.bus.topicNames())
		if err != nil || len(missing) == 0 {
			return err
		}
		if err := c.create(admin, missing); err != nil {
			return err
		}
		c.marker.suspect() // it went with the topics
		now, _, err = describe(client, c.bus.topicNames())
		return err
	})
	if err != nil {
		now = &sight{at: time.Now(), err: err}
		if last := c.seen.Load(); last != nil {
			now.cluster, now.topics = last.cluster, last.topics
		}
		c.seen.Store(now)
		c.suspect(err)
		return err
	}
	c.cutSilent()
	last := c.seen.Swap(now)
	c.warnOfPartitions(now)
	c.bus.tell(now)
	if last != nil && isReplaced(last, now) {
		c.bus.log.Warn("topics were replaced", "cluster", now.cluster)
		c.bus.publisher.replace()
		c.marker.suspect()
	}
	return nil
}

// cutSilent cuts the connections of members and producers on which nothing has
// come in since one of this control was found broken, and a while after that: they
// may be broken with it and not say so, those that nobody uses too. That the
// cluster is well is known: it has just answered. Who only waits for other members
// of its group is cut with them, and joins again.
func (c *control) cutSilent() {
	trouble := c.trouble.Load()
	at := time.Unix(0, trouble)
	if trouble == 0 || time.Since(at) < silence || !c.trouble.CompareAndSwap(trouble, 0) {
		return
	}
	if n := c.bus.settings.wires.cutSilent(at); n > 0 {
		c.bus.log.Info("silent connections were cut", "connections", n)
	}
}

// suspect notes an error that may have broken other connections too. That the
// cluster refuses something is none.
func (c *control) suspect(err error) {
	var network net.Error
	if errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, sarama.ErrOutOfBrokers) || errors.Is(err, sarama.ErrNotConnected) {
		c.trouble.Store(time.Now().UnixNano())
	}
}

// isReplaced reports whether a topic is not the one that it was.
func isReplaced(last, now *sight) bool {
	for name, t := range last.topics {
		if t.id != now.topics[name].id {
			return true
		}
	}
	return false
}

func (c *control) warnOfPartitions(s *sight) {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	for name, t := range s.topics {
		if n := len(t.partitions); n != c.bus.config.Partitions && c.warned[name] != n {
			c.warned[name] = n
			c.bus.log.Warn("topic has another number of partitions than configured, and is used as it is",
				"topic", name, "partitions", n, "configured", c.bus.config.Partitions)
		}
	}
}

// describe asks a broker for the cluster and for topics. It fails if a topic
// that exists cannot be written to.
func describe(client sarama.Client, names []string) (s *sight, missing []string, err error) {
	broker := client.LeastLoadedBroker()
	if broker == nil {
		return nil, nil, sarama.ErrOutOfBrokers
	}
	request := sarama.NewMetadataRequest(client.Config().Version, names)
	answer, err := broker.GetMetadata(request)
	if err != nil {
		return nil, nil, fmt.Errorf("ask %s for the topics: %w", broker.Addr(), err)
	}
	s = &sight{at: time.Now(), topics: map[string]topic{}}
	if answer.ClusterID != nil {
		s.cluster = *answer.ClusterID
	}
	for _, t := range answer.Topics {
		switch {
		case errors.Is(t.Err, sarama.ErrUnknownTopicOrPartition):
			missing = append(missing, t.Name)
			continue
		case !errors.Is(t.Err, sarama.ErrNoError):
			return nil, nil, fmt.Errorf("topic %s: %w", t.Name, t.Err)
		}
		found := topic{id: t.Uuid}
		for _, p := range t.Partitions {
			if !errors.Is(p.Err, sarama.ErrNoError) && !errors.Is(p.Err, sarama.ErrReplicaNotAvailable) {
				return nil, nil, fmt.Errorf("topic %s, partition %d: %w", t.Name, p.ID, p.Err)
			}
			found.partitions = append(found.partitions, p.ID)
		}
		s.topics[t.Name] = found
	}
	return s, missing, nil
}

// batchLimit returns how large a batch every topic takes, at most maxBatch.
func batchLimit(admin sarama.ClusterAdmin, names []string) (int, error) {
	var resources []*sarama.ConfigResource
	for _, name := range names {
		resources = append(resources, &sarama.ConfigResource{Type: sarama.TopicResource, Name: name, ConfigNames: []string{"max.message.bytes"}})
	}
	answers, err := admin.DescribeConfigs(resources, sarama.DescribeConfigsOptions{})
	if err != nil {
		return 0, fmt.Errorf("ask for max.message.bytes: %w", err)
	}
	limit := maxBatch
	for _, a := range answers {
		for _, entry := range a.Configs {
			if n, err := strconv.Atoi(entry.Value); err == nil && entry.Name == "max.message.bytes" {
				limit = min(limit, n)
			}
		}
	}
	return limit, nil
}

// close ends the watch and the connections.
func (c *control) close() {
	c.stop()
	if l := c.links.Load(); l != nil {
		l.cut()
	}
	c.turn <- struct{}{}
	c.hangUp()
	<-c.turn
	c.running.Wait()
}
