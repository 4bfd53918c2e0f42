package kafka

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// links are the connections of one client. Sarama's calls know no context: to
// end one that waits for a broker which does not answer, its connection is cut.
type links struct {
	dial  func(network, address string) (net.Conn, error)
	wires *wires // nil if nobody looks after them

	mu   sync.Mutex
	open map[*link]struct{} // nil once cut
}

func newLinks(s *settings) *links {
	return &links{dial: s.dial, wires: s.wires, open: map[*link]struct{}{}}
}

// Dial opens a connection, for sarama.
func (l *links) Dial(network, address string) (net.Conn, error) {
	l.mu.Lock()
	cut := l.open == nil
	l.mu.Unlock()
	if cut {
		return nil, net.ErrClosed
	}
	conn, err := l.dial(network, address)
	if err != nil {
		return nil, err
	}
	c := &link{Conn: conn, links: l}
	c.heard.Store(time.Now().UnixNano())
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	l.open[c] = struct{}{}
	l.wires.add(c)
	return c, nil
}

// cut closes all connections and refuses new ones.
func (l *links) cut() {
	l.mu.Lock()
	open := l.open
	l.open = nil
	l.mu.Unlock()
	for c := range open {
		l.wires.remove(c)
		_ = c.Conn.Close()
	}
}

type link struct {
	net.Conn
	links *links
	heard atomic.Int64 // when something last came in, in Unix ns
}

func (c *link) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.heard.Store(time.Now().UnixNano())
	}
	return n, err
}

func (c *link) Close() error {
	c.links.mu.Lock()
	delete(c.links.open, c)
	c.links.mu.Unlock()
	c.links.wires.remove(c)
	return c.Conn.Close()
}

// wires are the open connections of the members and producers of a bus. A
// connection whose other end is gone without a word (a machine that lost its
// power, a firewall that forgot it) looks like one that waits for an answer, and
// a member of a group may wait for longer than a minute.
type wires struct {
	mu   sync.Mutex
	open map[*link]struct{}
}

func newWires() *wires { return &wires{open: map[*link]struct{}{}} }

func (w *wires) add(c *link) {
	if w != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.open[c] = struct{}{}
	}
}

func (w *wires) remove(c *link) {
	if w != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.open, c)
	}
}

// cutSilent closes all connections on which nothing has come in since then, idle
// ones too, and returns how many. Whoever uses them opens others.
func (w *wires) cutSilent(then time.Time) int {
	var dead []*link
	w.mu.Lock()
	for c := range w.open {
		if c.heard.Load() <= then.UnixNano() {
			dead = append(dead, c)
			delete(w.open, c)
		}
	}
	w.mu.Unlock()
	for _, c := range dead {
		_ = c.Conn.Close() // its reader gets an error and does the rest
	}
	return len(dead)
}
