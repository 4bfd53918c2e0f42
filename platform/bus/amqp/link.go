package amqp

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/pizzamill/pizzamill/platform/version"
)

const (
	// dialPatience bounds a connection attempt, handshake included.
	dialPatience = 5 * time.Second
	// reportEvery is how often the log says that the broker is still away.
	reportEvery = 30 * time.Second
)

// link is a connection to the broker for one purpose: made when it is asked for,
// and anew when it is gone.
type link struct {
	bus     *Bus
	purpose string

	mu       sync.Mutex
	line     *line // the last one, maybe closed
	dialling *dialling
	reported time.Time // when the log was told of it
}

// dialling is an attempt to connect that some wait for together.
type dialling struct {
	done chan struct{}
	line *line
	err  error
}

// line is one connection as long as it lasts.
type line struct {
	*amqp091.Connection
	cork    *corked
	blocked atomic.Pointer[string]
}

// blockedFor returns why the broker takes no messages, or "".
func (l *line) blockedFor() string {
	if reason := l.blocked.Load(); reason != nil {
		return *reason
	}
	return ""
}

// get returns the open connection, or the outcome of one attempt to make one.
// The caller tries again, after a pause.
func (l *link) get(ctx context.Context) (*line, error) {
	l.mu.Lock()
	if l.line != nil && !l.line.IsClosed() {
		defer l.mu.Unlock()
		return l.line, nil
	}
	d := l.dialling
	if d == nil && l.bus.closing.Err() == nil {
		d = &dialling{done: make(chan struct{})}
		l.dialling = d
		go l.attempt(d)
	}
	l.mu.Unlock()
	if d == nil {
		return nil, errClosed
	}
	select {
	case <-d.done:
		return d.line, d.err
	case <-ctx.Done():
		return nil, fmt.Errorf("connect to RabbitMQ at %s: %w", l.bus.place(), ctx.Err())
	}
}

func (b *Bus) place() string { return Place(b.config.URL) }

// attempt connects, and makes everything exist before anybody uses the connection.
func (l *link) attempt(d *dialling) {
	line, err := l.dial()
	if err == nil && l != l.bus.control {
		if err = l.bus.restore(); err != nil {
			line.hangUp()
		}
	}
	if err != nil {
		line, err = nil, fmt.Errorf("connect to RabbitMQ at %s: %w", l.bus.place(), err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report(err)
	d.line, d.err = line, err
	l.dialling = nil
	if line != nil {
		l.line = line
	}
	close(d.done)
}

// report tells the log that the broker is away, once in a while, and that it is back.
func (l *link) report(err error) {
	switch {
	case err != nil && l.bus.closing.Err() == nil && time.Since(l.reported) > reportEvery:
		l.bus.log.Warn("waiting for RabbitMQ", "to", l.purpose, "error", err)
		l.reported = time.Now()
	case err == nil && !l.reported.IsZero():
		l.bus.log.Info("connected to RabbitMQ again", "to", l.purpose)
		l.reported = time.Time{}
	}
}

// hangUp closes the connection, if there is one, within a second. It is called
// when the bus is closing, which cuts off an attempt.
func (l *link) hangUp() {
	l.mu.Lock()
	d := l.dialling
	l.mu.Unlock()
	if d != nil {
		<-d.done
	}
	l.mu.Lock()
	line := l.line
	l.mu.Unlock()
	if line != nil {
		line.hangUp()
	}
}

// hangUp closes the connection within a second.
func (l *line) hangUp() { _ = l.CloseDeadline(time.Now().Add(time.Second)) } // closed is closed

func (l *link) dial() (*line, error) {
	patience := dialPatience
	if ms := l.bus.uri.ConnectionTimeout; ms > 0 {
		patience = time.Duration(ms) * time.Millisecond
	}
	dialled := &line{}
	stop := func() bool { return true }
	defer func() { stop() }()
	conn, err := amqp091.DialConfig(l.bus.config.URL, amqp091.Config{
		Properties: l.properties(),
		Dial: func(network, address string) (net.Conn, error) {
			dialer := net.Dialer{Timeout: patience}
			conn, err := dialer.DialContext(l.bus.closing, network, address)
			if err != nil {
				return nil, err
			}
			dialled.cork = &corked{Conn: conn}
			stop = context.AfterFunc(l.bus.closing, func() { _ = conn.Close() })
			return dialled.cork, conn.SetDeadline(time.Now().Add(patience)) // cleared after the handshake
		},
	})
	if err != nil {
		if dialled.cork != nil {
			_ = dialled.cork.Close()
		}
		return nil, err
	}
	dialled.Connection = conn
	blocked := conn.NotifyBlocked(make(chan amqp091.Blocking, 1))
	go func() {
		for b := range blocked { // closed with the connection
			if b.Active {
				dialled.blocked.Store(&b.Reason)
				l.bus.log.Warn("RabbitMQ takes no messages", "reason", b.Reason)
			} else {
				dialled.blocked.Store(nil)
				l.bus.log.Info("RabbitMQ takes messages again")
			}
		}
	}()
	return dialled, nil
}

// properties are what the broker's own tools show of a connection.
func (l *link) properties() amqp091.Table {
	p := amqp091.Table{
		"product":  "pizzamill",
		"version":  version.String(),
		"platform": "Go",
	}
	host, _ := os.Hostname() // "" says as much
	p.SetClientConnectionName(fmt.Sprintf("pizzamill %s%s, %s, process %d", l.bus.config.Prefix, l.purpose, host, os.Getpid()))
	return p
}

// corked is a connection that can hold back what is written, so that many
// messages leave in one system call. The client beneath writes each of its own.
type corked struct {
	net.Conn

	mu   sync.Mutex
	held []byte
	on   int
}

// maxHeld bounds what is held back, in bytes.
const maxHeld = 64 << 10

// Write implements net.Conn.
func (c *corked) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.on == 0 {
		return c.Conn.Write(p)
	}
	c.held = append(c.held, p...)
	if len(c.held) >= maxHeld {
		return len(p), c.flush()
	}
	return len(p), nil
}

// hold calls fn and sends what was written meanwhile, by whomever. fn must not
// wait for the broker.
func (c *corked) hold(fn func()) {
	c.mu.Lock()
	c.on++
	c.mu.Unlock()
	fn()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on--
	if c.flush() != nil {
		_ = c.Close() // whoever reads from it learns that it broke
	}
}

func (c *corked) flush() error {
	if len(c.held) == 0 {
		return nil
	}
	_, err := c.Conn.Write(c.held)
	c.held = c.held[:0]
	return err
}
