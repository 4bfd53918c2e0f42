package kafka

import (
	"maps"
	"net"
	"sync"
	"testing"
)

// network is what lies between a bus and the broker. It can be cut, and it can
// swallow everything, as a process or a machine that has stopped does.
type network struct {
	broker   string
	listener net.Listener
	running  sync.WaitGroup

	mu    sync.Mutex
	cond  *sync.Cond
	state string // "", "down", "silent"
	muted map[net.Conn]struct{}
	ended bool
	conns map[net.Conn]struct{}
}

// through returns a network and puts it between b and its broker.
func through(t *testing.T, b *Bus) *network {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &network{broker: b.config.Brokers[0], listener: l, conns: map[net.Conn]struct{}{}, muted: map[net.Conn]struct{}{}}
	n.cond = sync.NewCond(&n.mu)
	n.running.Go(n.accept)
	b.settings.dial = func(network, _ string) (net.Conn, error) { return net.Dial(network, l.Addr().String()) }
	t.Cleanup(func() {
		n.mu.Lock()
		n.ended = true
		n.mu.Unlock()
		_ = l.Close()
		n.set("down")
		n.running.Wait()
	})
	return n
}

// set changes the state; "" is a network that works.
func (n *network) set(state string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state = state
	if state == "down" {
		for c := range n.conns {
			_ = c.Close()
		}
		clear(n.conns)
	}
	n.cond.Broadcast()
}

// mute has the connections that are open swallow everything from now on, as if
// the other end had vanished. New ones work.
func (n *network) mute() {
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.Copy(n.muted, n.conns)
}

func (n *network) accept() {
	for {
		client, err := n.listener.Accept()
		if err != nil {
			return
		}
		n.mu.Lock()
		down := n.state == "down"
		n.mu.Unlock()
		broker, err := net.Dial("tcp", n.broker)
		if err != nil || down {
			_ = client.Close()
			if err == nil {
				_ = broker.Close()
			}
			continue
		}
		n.mu.Lock()
		n.conns[client], n.conns[broker] = struct{}{}, struct{}{}
		n.mu.Unlock()
		n.running.Go(func() { n.carry(client, broker) })
		n.running.Go(func() { n.carry(broker, client) })
	}
}

func (n *network) carry(from, to net.Conn) {
	defer func() { _, _ = from.Close(), to.Close() }()
	buffer := make([]byte, 64<<10)
	for {
		size, err := from.Read(buffer)
		if err != nil {
			return
		}
		n.mu.Lock()
		for n.state == "silent" && !n.ended {
			n.cond.Wait()
		}
		_, muted := n.muted[from]
		n.mu.Unlock()
		if muted {
			continue
		}
		if _, err := to.Write(buffer[:size]); err != nil {
			return
		}
	}
}
