package e2e

import (
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pizzamill/pizzamill/internal/testservice"
)

// TestReadmeSplit types the commands that README.md has for three terminals,
// letter by letter, into one folder. Only the addresses are others, told by the
// environment, and on a Kafka that is shared a prefix. The processes are started
// in an order of chance, first before the broker is there and then after.
func TestReadmeSplit(t *testing.T) {
	t.Parallel()
	for _, bus := range brokers {
		t.Run(bus, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, bus, "sqlite")
			env, open := throughGate(t, c)
			commands := readmeCommands(t, bus)
			if len(commands) != 3 {
				t.Fatalf("README.md has %d commands for three terminals on %s: %q", len(commands), bus, commands)
			}
			dir := t.TempDir()
			for _, args := range commands {
				s := newServer(t, binary(t))
				s.dir, s.args = dir, args
				if s.runs("pizza") {
					s.env = append(s.env, env...)
				} else {
					s.main, s.admin, s.env = "", "", env // it finds a free port for itself
				}
				c.members = append(c.members, s)
			}
			ledger := c.members[0]
			if !ledger.runs("pizza", "journal", "deadletter", "ui") {
				t.Fatalf("the first command is %s", ledger.name())
			}

			c.bootShuffled()
			ledger.awaitTaking()
			first := ledger.mustOrder(4) // while the broker is away
			for _, s := range c.members {
				wantProblem(t, send(t, s.admin, request11("GET", "/readyz", s.admin, nil, "")), 503)
			}
			open()
			for _, s := range c.members {
				s.awaitReady()
			}
			ledger.mustComplete(first, cellLimit)
			c.stop(c.members...)

			c.bootShuffled()
			for _, s := range c.members {
				s.awaitReady()
			}
			b := newBook(t)
			b.answered[first] = 4
			b.place(t.Context(), ledger, request{count: 7})
			c.mustAudit(b)
			c.stop(c.members...)
		})
	}
}

// readmeCommands returns the arguments of the commands in README.md that serve a
// part of the modules on a bus.
func readmeCommands(t *testing.T, bus string) [][]string {
	t.Helper()
	var commands [][]string
	for line := range strings.Lines(readFile("../README.md")) {
		words := strings.Fields(strings.SplitN(line, "#", 2)[0])
		if len(words) > 1 && words[0] == "pizzamill" && strings.HasPrefix(words[1], "--modules=") && strings.HasSuffix(strings.Join(words, " "), "--bus "+bus) {
			commands = append(commands, words[1:])
		}
	}
	return commands
}

// bootShuffled starts all processes in an order of chance and returns when each
// has said where it listens. What they need may be away.
func (c *cluster) bootShuffled() {
	c.t.Helper()
	for _, i := range rand.Perm(len(c.members)) {
		c.members[i].boot()
	}
	for _, s := range c.members {
		s.learnAdmin()
	}
}

var kitchen = regexp.MustCompile(`kitchen \(admin\)\s+http://([^/\s]+)/`)

// learnAdmin reads from the block that a process prints where its admin listener is.
func (s *server) learnAdmin() {
	s.t.Helper()
	poll(s.t, startTimeout, s.name()+" says where it listens", func() bool {
		if found := kitchen.FindStringSubmatch(s.proc.output()); found != nil {
			s.admin = found[1]
			return true
		}
		if !s.running() {
			s.t.Fatalf("%s: ended with %d\n%s", s.name(), s.proc.code, tail(s.proc.errors()))
		}
		return false
	})
}

// throughGate returns the settings with which a process finds the cluster's
// broker behind an address where nobody listens until open is called.
func throughGate(t *testing.T, c *cluster) (settings []string, open func()) {
	t.Helper()
	gate := freeAddr(t)
	if c.bus == "kafka" {
		return []string{"KAFKA_BROKERS=" + gate, "BUS_PREFIX=" + c.prefix}, func() { forward(t, gate, testservice.Kafka(t)) }
	}
	broker, err := url.Parse(c.setting("AMQP_URL"))
	if err != nil {
		t.Fatal(err)
	}
	target := broker.Host
	broker.Host = gate
	return []string{"AMQP_URL=" + broker.String()}, func() { forward(t, gate, target) }
}

// forward listens on an address and passes everything on to another, until the
// test ends.
func forward(t *testing.T, from, to string) {
	t.Helper()
	l, err := net.Listen("tcp", from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				out, err := net.DialTimeout("tcp", to, 5*time.Second)
				if err != nil {
					return
				}
				defer out.Close()
				go func() {
					_, _ = io.Copy(out, in)
					_ = out.(*net.TCPConn).CloseWrite()
				}()
				_, _ = io.Copy(in, out)
			}()
		}
	}()
}
