package e2e

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pizzamill/pizzamill/internal/testservice"
)

// cluster is one pizzamill of several processes, which share a bus and a ledger
// and nothing else: each has its own ports, folder and log. Nobody else uses its
// topics, its vhost or its database.
type cluster struct {
	t        testing.TB
	bus      string   // gochannel, kafka, amqp
	store    string   // sqlite, postgres
	prefix   string   // of its topics, groups, exchanges and queues
	settings []string // of all its processes, as those of a server
	members  []*server
}

// newCluster returns a cluster without a process. Settings come behind its own
// and win over them. The test is skipped, or fails where it must not be, if a
// server that it needs is not there.
func newCluster(t testing.TB, bus, store string, settings ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, bus: bus, store: store, prefix: "e2e-" + strings.ToLower(rand.Text()[:10]) + "."}
	c.settings = []string{"BUS_DRIVER=" + bus, "STORE_DRIVER=" + store, "BUS_PREFIX=" + c.prefix, "LOG_LEVEL=info"}
	switch bus {
	case "kafka":
		c.settings = append(c.settings, "KAFKA_BROKERS="+testservice.Kafka(t), "KAFKA_PARTITIONS=4")
	case "amqp":
		c.settings = append(c.settings, "AMQP_URL="+testservice.VHost(t), "AMQP_MANAGEMENT_URL="+testservice.Management(t))
	}
	switch store {
	case "sqlite":
		c.settings = append(c.settings, "STORE_PATH="+filepath.Join(t.TempDir(), "ledger.db"))
	case "postgres":
		c.settings = append(c.settings, "STORE_DSN="+testservice.Database(t))
	}
	c.settings = append(c.settings, settings...)
	if bus == "kafka" {
		t.Cleanup(func() { removeFromKafka(t, c.setting("KAFKA_BROKERS"), c.prefix) })
	}
	return c
}

// setting returns the value of a setting of all processes.
func (c *cluster) setting(name string) string {
	for _, kv := range slices.Backward(c.settings) {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}

// add adds a process that is not started yet. modules is what --modules takes.
func (c *cluster) add(modules string, settings ...string) *server {
	c.t.Helper()
	s := newServer(c.t, binary(c.t), append(slices.Clone(c.settings), settings...)...)
	s.args = []string{"serve", "--modules=" + modules}
	if !s.runs("pizza", "ui") {
		s.main = ""
	}
	c.members = append(c.members, s)
	return s
}

// start adds a process for each list of modules, starts them all at once and
// waits until all are ready.
func (c *cluster) start(modules ...string) {
	c.t.Helper()
	for _, m := range modules {
		c.add(m)
	}
	c.boot(c.members[len(c.members)-len(modules):]...)
}

// boot starts processes at once and waits until all are ready.
func (c *cluster) boot(members ...*server) {
	c.t.Helper()
	for _, s := range members {
		s.boot()
	}
	for _, s := range members {
		s.awaitReady()
	}
}

// stop ends processes by SIGTERM, all at once; each must exit 0 within
// [app] shutdown_timeout.
func (c *cluster) stop(members ...*server) {
	c.t.Helper()
	for _, s := range members {
		s.proc.signal(syscall.SIGTERM)
	}
	for _, s := range members {
		code, ok := s.proc.wait(40 * time.Second)
		if !ok || code != 0 {
			c.t.Errorf("%s: after SIGTERM: over %v, exit status %d\n%s", s.name(), ok, code, tail(s.proc.errors()))
		}
	}
}

// runs reports whether --modules of the process names one of some modules, or all.
func (s *server) runs(modules ...string) bool {
	for _, arg := range s.args {
		list, ok := strings.CutPrefix(arg, "--modules=")
		for name := range strings.SplitSeq(list, ",") {
			if ok && (name == "all" || slices.Contains(modules, name)) {
				return true
			}
		}
	}
	return false
}

// with returns the processes that are there and run one of some modules.
func (c *cluster) with(modules ...string) []*server {
	return slices.DeleteFunc(slices.Clone(c.members), func(s *server) bool { return !s.running() || !s.runs(modules...) })
}

// fronts returns the processes that serve the API of orders.
func (c *cluster) fronts() []*server { return c.with("pizza", "ui") }

// ledgers returns the processes that have the ledger open.
func (c *cluster) ledgers() []*server { return c.with("pizza", "journal", "deadletter", "ui") }

// front returns the first process that serves the API of orders.
func (c *cluster) front() *server {
	c.t.Helper()
	fronts := c.fronts()
	if len(fronts) == 0 {
		c.t.Fatal("no process that takes orders is up")
	}
	return fronts[0]
}

// mustAudit waits until everything is worked off and fails the test over
// whatever an audit then finds, seen from each process that serves orders.
func (c *cluster) mustAudit(b *book) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	for _, s := range c.fronts() {
		a := newAudit(s, b)
		if err := a.run(ctx); err != nil {
			c.t.Fatalf("audit of %s: %v\n%s", s.name(), err, a.summary())
		}
		if len(a.findings) > 0 {
			c.t.Errorf("audit of %s: %s", s.name(), a.summary())
		}
	}
}

// lagDoc is what `pizzamill lag -o json` prints.
type lagDoc struct {
	Groups []struct {
		Module string `json:"module"`
		Topic  string `json:"topic"`
		Lag    int64  `json:"lag"`
	} `json:"groups"`
}

// awaitNoLag waits until every group has acknowledged everything, as the command
// line tells of a process. Brokers learn of it up to a few seconds late.
func (s *server) awaitNoLag() lagDoc {
	s.t.Helper()
	var lag lagDoc
	poll(s.t, 30*time.Second, "nothing lags", func() bool {
		lag = lagDoc{}
		r := s.command("lag", "-o", "json")
		if r.code != 0 {
			s.t.Fatalf("%s: lag: exit status %d\n%s", s.name(), r.code, r.stderr)
		}
		if err := json.Unmarshal([]byte(r.stdout), &lag); err != nil {
			s.t.Fatalf("%s: lag -o json: %v\n%s", s.name(), err, r.stdout)
		}
		sum := int64(0)
		for _, g := range lag.Groups {
			sum += g.Lag
		}
		return sum == 0
	})
	return lag
}

// poll asks every 50 ms until something is so, and fails the test if it is not
// in time: for what a process outside has no signal of.
func poll(t testing.TB, limit time.Duration, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for !so() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}
