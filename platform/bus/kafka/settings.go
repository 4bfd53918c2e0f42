package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"
)

// Times of the client. A peer that was killed is noticed after sessionTimeout;
// a peer that must give partitions away learns so at its next heartbeat, which
// is what most rebalances wait for.
const (
	sessionTimeout   = 10 * time.Second
	heartbeat        = time.Second
	rebalanceTimeout = 60 * time.Second
	commitInterval   = 500 * time.Millisecond
	dialTimeout      = 3 * time.Second
	answerTimeout    = 5 * time.Second // for what a broker answers at once
	silence          = 2 * time.Second // after which a connection is broken, if others were
)

// maxBatch bounds a batch of records of one partition, in bytes, where the
// broker allows as much. It is Kafka's own default for what a broker takes.
const maxBatch = 1 << 20

// settings are what all clients of a bus have in common.
type settings struct {
	config  Config
	tls     *tls.Config // nil: plain TCP
	dial    func(network, address string) (net.Conn, error)
	session time.Duration // of members of groups
	beat    time.Duration // their heartbeat
	wires   *wires        // of members and producers
}

// noMeters has sarama measure nothing. Its meters cost memory and time for each
// client, topic and broker, and a goroutine that never ends, some of them
// whatever registry it is given.
var noMeters = sync.OnceFunc(func() { metrics.UseNilMetrics = true })

func newSettings(c Config) (*settings, error) {
	if len(c.Brokers) == 0 {
		return nil, errors.New("no brokers")
	}
	noMeters()
	s := &settings{
		config:  c,
		dial:    (&net.Dialer{Timeout: dialTimeout}).Dial,
		session: sessionTimeout,
		beat:    heartbeat,
		wires:   newWires(),
	}
	if c.TLS {
		s.tls = &tls.Config{MinVersion: tls.VersionTLS12}
		if c.CAFile != "" {
			pem, err := os.ReadFile(c.CAFile)
			if err != nil {
				return nil, fmt.Errorf("CA file: %w", err)
			}
			s.tls.RootCAs = x509.NewCertPool()
			if !s.tls.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("CA file %s: no certificate in it", c.CAFile)
			}
		}
	}
	if err := s.authenticate(sarama.NewConfig()); err != nil {
		return nil, err
	}
	if err := s.base(newLinks(s)).Validate(); err != nil {
		return nil, err
	}
	return s, nil
}

// base returns the settings of a client whose connections are links.
func (s *settings) base(l *links) *sarama.Config {
	c := sarama.NewConfig()
	// The newest protocol that is used; each request is made in the version that
	// the broker knows, so that older brokers work too.
	c.Version = sarama.V3_2_0_0
	c.ClientID = s.config.ClientID
	if c.ClientID == "" {
		c.ClientID = "pizzamill"
	}
	c.Net.DialTimeout = dialTimeout
	c.Net.ReadTimeout = answerTimeout
	c.Net.WriteTimeout = answerTimeout
	c.Net.Proxy.Enable = true
	c.Net.Proxy.Dialer = l
	c.Net.TLS.Enable = s.tls != nil
	c.Net.TLS.Config = s.tls
	// Only the topics at hand, not those of the whole cluster, and none made by
	// asking for it.
	c.Metadata.Full = false
	c.Metadata.AllowAutoTopicCreation = false
	c.Metadata.RefreshFrequency = time.Minute
	_ = s.authenticate(c) // New has returned its error
	return c
}

// authenticate adds what SASL needs.
func (s *settings) authenticate(c *sarama.Config) error {
	if s.config.SASLMechanism == "" {
		return nil
	}
	sasl := &c.Net.SASL
	sasl.Enable = true
	sasl.Mechanism = sarama.SASLMechanism(s.config.SASLMechanism)
	sasl.User, sasl.Password = s.config.SASLUsername, s.config.SASLPassword
	switch sasl.Mechanism {
	case sarama.SASLTypePlaintext:
	case sarama.SASLTypeSCRAMSHA256, sarama.SASLTypeSCRAMSHA512:
		sasl.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{mechanism: sasl.Mechanism} }
	default:
		return fmt.Errorf("unknown SASL mechanism %q: want PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", s.config.SASLMechanism)
	}
	return nil
}

// consumer returns the settings of a member of a consumer group.
func (s *settings) consumer(l *links) *sarama.Config {
	c := s.base(l)
	// The answer to a JoinGroup comes when the last member has given its
	// partitions away.
	c.Net.ReadTimeout = rebalanceTimeout + answerTimeout
	c.Consumer.MaxWaitTime = 250 * time.Millisecond
	c.Consumer.Retry.Backoff = 250 * time.Millisecond
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	// What a foreign stage's transaction has aborted was never published.
	c.Consumer.IsolationLevel = sarama.ReadCommitted
	c.Consumer.Offsets.AutoCommit.Interval = commitInterval
	c.Consumer.Group.ResetInvalidOffsets = true // to Initial
	c.Consumer.Group.Session.Timeout = s.session
	c.Consumer.Group.Heartbeat.Interval = s.beat
	c.Consumer.Group.Rebalance.Timeout = rebalanceTimeout
	c.Consumer.Group.Rebalance.Retry.Max = 10
	c.Consumer.Group.Rebalance.Retry.Backoff = 500 * time.Millisecond
	// Who keeps a partition goes on with it while others come and go. The
	// strategy has a state of its own for each member.
	c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyCooperativeSticky()}
	// What is buffered here is handed out after the partition was taken away.
	c.ChannelBufferSize = 64
	return c
}

// producer returns the settings of a producer whose batches have at most
// maxBytes, or if alone, one message each.
func (s *settings) producer(l *links, maxBytes int, alone bool) *sarama.Config {
	c := s.base(l)
	c.Net.MaxOpenRequests = 1 // what is sent meanwhile gathers into the next batch
	c.Net.ReadTimeout = publishTimeout
	p := &c.Producer
	p.Idempotent = true
	p.RequiredAcks = sarama.WaitForAll
	p.Timeout = answerTimeout
	p.Return.Successes = true
	p.Return.Errors = true
	p.MaxMessageBytes = maxBytes
	// As Java's client does it, so that a key is where other clients look for it.
	p.Partitioner = sarama.NewMurmur2Partitioner
	p.Retry.Max = 10
	p.Retry.Backoff = 250 * time.Millisecond
	p.Transaction.Retry.Max = 3
	if alone {
		p.MaxMessageBytes = int(sarama.MaxRequestSize)
		p.Flush.MaxMessages = 1
	}
	return c
}
