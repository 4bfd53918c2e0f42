// Package pgtest stands between a test and a real PostgreSQL, and does to the
// connections what networks and servers do.
package pgtest

import (
	"net"
	"net/url"
	"sync"
	"testing"
)

// Proxy passes bytes on between a client and the server until it is told
// otherwise. Its methods are safe for concurrent use.
type Proxy struct {
	server   string
	listener net.Listener
	running  sync.WaitGroup

	mu     sync.Mutex
	state  state
	change chan struct{} // closed when the state changes
	conns  map[net.Conn]struct{}
}

type state int

const (
	passing    state = iota
	frozen           // nothing moves, and nobody is told
	unanswered       // what is asked arrives, what is answered is lost
	away             // connections are refused
	closed
)

// New returns a proxy and the connection string, a URL, of the server behind it.
// It ends with the test.
func New(t testing.TB, dsn string) (*Proxy, string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatalf("the DSN is no URL: %v", err)
	}
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{server: u.Host, listener: l, change: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		p.set(closed)
		_ = l.Close()
		p.running.Wait()
	})
	u.Host = l.Addr().String()
	return p, u.String()
}

// Cut breaks all connections and refuses new ones.
func (p *Proxy) Cut() { p.set(away) }

// Break breaks all connections. New ones are made as before.
func (p *Proxy) Break() {
	p.set(away)
	p.set(passing)
}

// Freeze stops everything without a word, as a server does that hangs.
func (p *Proxy) Freeze() { p.set(frozen) }

// Swallow loses what the server answers from now on. It still gets what it is asked.
func (p *Proxy) Swallow() { p.set(unanswered) }

// Restore lets everything pass again.
func (p *Proxy) Restore() { p.set(passing) }

func (p *Proxy) set(s state) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == closed {
		return
	}
	p.state = s
	close(p.change)
	p.change = make(chan struct{})
	if s == away || s == closed {
		for c := range p.conns {
			_ = c.Close()
		}
		p.conns = map[net.Conn]struct{}{}
	}
}

func (p *Proxy) now() (state, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state, p.change
}

// keep takes connections under control, unless they are to be refused.
func (p *Proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.state == away || p.state == closed {
			_ = c.Close()
			continue
		}
		p.conns[c] = struct{}{}
	}
	return p.state != away && p.state != closed
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		if !p.keep(client) {
			continue
		}
		server, err := net.Dial("tcp", p.server) //nolint:noctx // loopback, in a test
		if err != nil {
			_ = client.Close()
			continue
		}
		if !p.keep(server) {
			continue
		}
		p.running.Go(func() { p.pass(server, client, false) })
		p.running.Go(func() { p.pass(client, server, true) })
	}
}

// pass copies from one side to the other until either ends.
func (p *Proxy) pass(to, from net.Conn, answers bool) {
	defer func() {
		_ = to.Close()
		_ = from.Close()
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		s, change := p.now()
		for s == frozen {
			<-change
			s, change = p.now()
		}
		if n > 0 && (s != unanswered || !answers) {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
