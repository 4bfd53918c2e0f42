package kafka

import (
	"net"
	"sync"
)

// links are the connections of one client. Sarama's calls know no context: to
// end one that waits for a broker which does not answer, its connection is cut.
type links struct {
	dial func(network, address string) (net.Conn, error)

	mu   sync.Mutex
	open map[*link]struct{} // nil once cut
}

func newLinks(dial func(network, address string) (net.Conn, error)) *links {
	return &links{dial: dial, open: map[*link]struct{}{}}
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
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	l.open[c] = struct{}{}
	return c, nil
}

// cut closes all connections and refuses new ones.
func (l *links) cut() {
	l.mu.Lock()
	open := l.open
	l.open = nil
	l.mu.Unlock()
	for c := range open {
		_ = c.Conn.Close()
	}
}

type link struct {
	net.Conn
	links *links
}

func (c *link) Close() error {
	c.links.mu.Lock()
	delete(c.links.open, c)
	c.links.mu.Unlock()
	return c.Conn.Close()
}
