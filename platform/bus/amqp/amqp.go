// Package amqp is the bus on RabbitMQ: a durable fanout exchange for each topic
// and a durable queue for each of its consumer groups.
//
// The publisher and the subscriber are our own, on the client that
// watermill-amqp stands on too; the decision record on the RabbitMQ driver says
// why, with figures.
package amqp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/pizzamill/pizzamill/platform/bus"
)

// Config is what the driver needs to know.
type Config struct {
	// URL is amqp:// or amqps://; see https://www.rabbitmq.com/docs/uri-spec and
	// https://www.rabbitmq.com/docs/uri-query-parameters (cacertfile, heartbeat, …).
	URL string
	// ManagementURL is where the management API is, with user and password;
	// "" is nowhere.
	ManagementURL string
	// QueueType is "quorum" or "classic".
	QueueType string
	// Concurrency is how many messages of a queue this process has in hand at most.
	Concurrency int
	// Prefix stands before the name of every exchange and queue.
	Prefix string
	// Pipeline is what is carried under the prefix, its stages comma-separated,
	// which a broker that carries another one refuses; "" for one that nobody
	// compares.
	Pipeline string
}

const (
	// maxPrefix leaves room for the longest topic and group behind the prefix, since
	// AMQP's names have at most 255 bytes.
	maxPrefix = 150
	// checkPatience bounds Check, which probes ask every second.
	checkPatience = 700 * time.Millisecond
	// closePatience is how long Close waits for acknowledgements on their way.
	closePatience = 2 * time.Second
	// settleTime is how long a subscription that was closed keeps what its readers
	// still have in hand. Afterwards it goes to other consumers.
	settleTime = 30 * time.Second
	// upkeepEvery is how often everything is declared again, in case someone
	// removed what nobody in this process consumes.
	upkeepEvery = 30 * time.Second
)

// errClosed is returned by whatever is asked of a closed bus.
var errClosed = errors.New("the bus is closed")

// Bus is a bus.Bus on RabbitMQ. The zero value is not usable; see New.
type Bus struct {
	config     Config
	uri        amqp091.URI
	management *management // nil without its URL
	log        *slog.Logger
	settle     time.Duration // settleTime, but in tests
	patience   time.Duration // publishPatience, but in tests

	publisher *publisher
	// Apart, since RabbitMQ stops reading from publishers when memory is short, and
	// since 3.10 closes the whole connection of who consumes a quorum queue that
	// another process is just making: a queue that is being made on it would stay
	// half made, for ever.
	publish, consume, control *link
	declaring                 sync.Mutex // one at a time, for the same reason

	closing context.Context
	close   context.CancelFunc
	running sync.WaitGroup // what must see closing before the connections go

	mu        sync.Mutex
	closed    bool
	declared  []bus.Subscription
	connected bool  // what was declared is kept in existence
	conflict  error // found since, and not mended: see isConflict
}

var _ bus.Bus = (*Bus)(nil)

// New returns a bus that will be at config.URL. It does not connect. The error
// says which setting is unusable, and shows none that holds a password.
func New(config Config, log *slog.Logger) (*Bus, error) {
	uri, err := amqp091.ParseURI(config.URL)
	if err != nil {
		return nil, errors.New("the URL is malformed: want amqp://user:password@host:port/vhost, or amqps://…; reserved characters in user and password are percent-encoded")
	}
	switch {
	case config.QueueType != amqp091.QueueTypeQuorum && config.QueueType != amqp091.QueueTypeClassic:
		return nil, fmt.Errorf("queue type %q: want quorum or classic", config.QueueType)
	case config.Concurrency < 1:
		return nil, fmt.Errorf("concurrency %d: want at least 1", config.Concurrency)
	case strings.HasPrefix(config.Prefix, "amq."):
		return nil, errors.New(`the prefix begins with "amq.", which RabbitMQ keeps for itself`)
	case len(config.Prefix) > maxPrefix:
		return nil, fmt.Errorf("the prefix has %d bytes, want at most %d", len(config.Prefix), maxPrefix)
	}
	b := &Bus{config: config, uri: uri, log: log, settle: settleTime, patience: publishPatience}
	if config.ManagementURL != "" {
		if b.management, err = newManagement(config.ManagementURL, uri.Vhost); err != nil {
			return nil, err
		}
	}
	b.closing, b.close = context.WithCancel(context.Background())
	b.publish, b.consume, b.control = &link{bus: b, purpose: "publish"}, &link{bus: b, purpose: "consume"}, &link{bus: b, purpose: "control"}
	b.publisher = newPublisher(b)
	return b, nil
}

// Place returns where a URL leads, host, port and vhost, without user and
// password; "" if it is malformed.
func Place(url string) string {
	uri, err := amqp091.ParseURI(url)
	if err != nil {
		return ""
	}
	place := net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port))
	if uri.Vhost != "/" {
		place += "/" + uri.Vhost
	}
	return place
}

// Declare says who reads what.
func (b *Bus) Declare(subs []bus.Subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.declared = subs
}

func (b *Bus) subscriptions() []bus.Subscription {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.declared
}

// hasReaders reports whether any group was declared on a topic.
func (b *Bus) hasReaders(topic string) bool {
	for _, s := range b.subscriptions() {
		if s.Topic == topic {
			return true
		}
	}
	return false
}

// Connect opens connections, compares the pipeline that the broker carries (see
// claim), and makes exchanges, queues and bindings exist. From then on that is
// done again after every reconnection, and now and then.
func (b *Bus) Connect(ctx context.Context) error {
	if err := within(ctx, b.declareAll); err != nil {
		return err
	}
	for _, l := range []*link{b.publish, b.consume} {
		if _, err := l.get(ctx); err != nil {
			return err
		}
	}
	b.mu.Lock()
	first := !b.connected
	b.connected = true
	b.mu.Unlock()
	if first {
		return b.spawn(b.upkeep)
	}
	return nil
}

// spawn runs fn beside, and lets Close wait for it.
func (b *Bus) spawn(fn func()) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errClosed
	}
	b.running.Go(fn)
	return nil
}

// upkeep makes exist again what was removed behind our back.
func (b *Bus) upkeep() {
	tick := time.NewTicker(upkeepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-b.closing.Done():
			return
		}
		if err := b.restore(); err != nil {
			b.log.Debug("exchanges and queues not checked", "error", err)
		}
	}
}

// restore declares everything, if Connect succeeded before, and keeps in mind
// what conflicts. It returns what else went wrong, and that another pipeline has
// taken a broker that was wiped: nothing must be published or consumed there,
// where the other line's events are.
func (b *Bus) restore() error {
	b.mu.Lock()
	connected := b.connected
	b.mu.Unlock()
	if !connected {
		return nil
	}
	conflict := b.declareAll()
	if conflict != nil && !isConflict(conflict) {
		return conflict
	}
	b.mu.Lock()
	isNew := conflict != nil && b.conflict == nil
	b.conflict = conflict
	b.mu.Unlock()
	if isNew {
		b.log.Error("the broker has something else under our name", "error", conflict)
	}
	var other *bus.PipelineError
	if errors.As(conflict, &other) {
		return other
	}
	return nil
}

// Publisher returns the publisher of this process. Publish returns once the
// broker has confirmed every message, that is, has it on disk in every queue, or
// after some ten seconds with an error. A message may arrive all the same then,
// and twice after trouble with the connection. What the broker refuses for its
// size is bus.ErrTooLarge.
func (b *Bus) Publisher() message.Publisher { return b.publisher }

// Room returns want: the broker keeps its messages on disk.
func (b *Bus) Room(ctx context.Context, want int) (int, error) { return want, ctx.Err() }

// Drain has nothing to wait for.
func (b *Bus) Drain(context.Context) error { return nil }

// Identity returns amqp/<prefix>/<cluster name>/<vhost>.
func (b *Bus) Identity(ctx context.Context) (string, error) {
	line, err := b.control.get(ctx)
	if err != nil {
		return "", err
	}
	return b.identityOf(line), nil
}

// identityOf returns the identity of the bus that a connection leads to.
func (b *Bus) identityOf(l *line) string {
	cluster, _ := l.Properties["cluster_name"].(string)
	return "amqp/" + b.config.Prefix + "/" + cluster + "/" + l.Config.Vhost
}

// Check asks the broker for a sign of life on both connections, for at most
// checkPatience.
func (b *Bus) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	b.mu.Lock()
	conflict := b.conflict
	b.mu.Unlock()
	if conflict != nil {
		return conflict
	}
	line, err := b.publish.get(ctx)
	if err != nil {
		return err
	}
	if reason := line.blockedFor(); reason != "" {
		return fmt.Errorf("RabbitMQ takes no messages: %s", reason)
	}
	for _, l := range []*link{b.publish, b.consume} {
		line, err := l.get(ctx)
		if err != nil {
			return err
		}
		err = within(ctx, func() error {
			ch, err := line.Channel()
			if err != nil {
				return err
			}
			return ch.Close()
		})
		if err != nil {
			return fmt.Errorf("RabbitMQ does not answer: %w", err)
		}
	}
	return nil
}

// Close ends subscriptions and connections. Acknowledgements already given
// still reach the broker; what has none is delivered again, to whoever reads.
func (b *Bus) Close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.close()
	ended := make(chan struct{})
	go func() { b.running.Wait(); close(ended) }()
	patience := time.NewTimer(closePatience)
	defer patience.Stop()
	select {
	case <-ended:
	case <-patience.C: // the broker hangs; without connections nothing waits for it
	}
	if b.management != nil {
		b.management.close()
	}
	var lines sync.WaitGroup
	for _, l := range []*link{b.publish, b.consume, b.control} {
		lines.Go(l.hangUp)
	}
	lines.Wait()
	<-ended
	return nil
}

// within returns what fn returns, or ctx's error if that ends first. The client
// beneath knows no contexts: fn then goes on until its connection ends.
func within(ctx context.Context, fn func() error) error {
	done := make(chan error, 1)
	go func() { done <- fn() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
