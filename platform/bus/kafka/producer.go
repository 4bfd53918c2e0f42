package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// flushTimeout is how long a closing producer may take for what is on its way.
const flushTimeout = 10 * time.Second

// producer is one of sarama's with the calls that wait for its answers.
type producer struct {
	async sarama.AsyncProducer
	links *links
	ended chan struct{} // closed when it has answered everything and is closed

	mu     sync.RWMutex // held for reading while records go in
	closed bool
}

// openProducer connects and draws a producer ID.
func openProducer(b *Bus, l *links, c *sarama.Config) (*producer, error) {
	client, err := connect(b.config.Brokers, c, b.topicNames())
	if err != nil {
		return nil, err
	}
	async, err := sarama.NewAsyncProducerFromClient(client)
	if err != nil {
		_ = client.Close()
		return nil, fmt.Errorf("open a producer: %w", err)
	}
	p := &producer{async: async, links: l, ended: make(chan struct{})}
	var answers sync.WaitGroup
	answers.Go(func() {
		for r := range async.Successes() {
			r.Metadata.(*call).settle(r, nil)
		}
	})
	answers.Go(func() {
		for e := range async.Errors() {
			e.Msg.Metadata.(*call).settle(e.Msg, e.Err)
		}
	})
	go func() {
		answers.Wait()
		_ = client.Close()
		close(p.ended)
	}()
	return p, nil
}

// call is what one Publish waits for.
type call struct {
	done chan struct{}

	mu      sync.Mutex
	left    int
	refused []*sarama.ProducerMessage // for their size
	err     error                     // the first other failure
}

func (c *call) settle(r *sarama.ProducerMessage, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
	case isTooLarge(err):
		c.refused = append(c.refused, r)
	case c.err == nil:
		c.err = err
	}
	if c.left--; c.left == 0 {
		close(c.done)
	}
}

// isTooLarge reports whether a record was refused for its size, by the broker
// or, where it does not even fit into a request, by sarama.
func isTooLarge(err error) bool {
	var config sarama.ConfigurationError
	var encoding sarama.PacketEncodingError
	return errors.Is(err, sarama.ErrMessageSizeTooLarge) || errors.As(err, &config) || errors.As(err, &encoding)
}

// send returns when the answers to all records are there, or ctx ends. Records
// that were refused for their size are returned and can be sent again.
func (p *producer) send(ctx context.Context, records []*sarama.ProducerMessage) ([]*sarama.ProducerMessage, error) {
	c := &call{done: make(chan struct{}), left: len(records)}
	if err := p.put(ctx, c, records); err != nil {
		return nil, err
	}
	select {
	case <-c.done:
		return c.refused, c.err
	case <-ctx.Done():
		return nil, fmt.Errorf("no answer within %v: %w", publishTimeout, ctx.Err())
	}
}

func (p *producer) put(ctx context.Context, c *call, records []*sarama.ProducerMessage) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return sarama.ErrShuttingDown
	}
	for _, r := range records {
		r.Metadata = c
		select {
		case p.async.Input() <- r:
		case <-ctx.Done():
			return fmt.Errorf("the producer takes no more: %w", ctx.Err())
		}
	}
	return nil
}

// close sends what is on its way. What has no answer then fails.
func (p *producer) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.async.AsyncClose()
	t := time.AfterFunc(flushTimeout, p.links.cut)
	defer t.Stop()
	<-p.ended
}
