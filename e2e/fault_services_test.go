package e2e

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// ownServers are real servers that nobody else uses, so that a test may stop
// them, kill them and take them away.
type ownServers struct {
	t       testing.TB
	state   string            // their folder
	address map[string]string // variable of a test's environment → address
}

// startOwn starts servers (kafka, rabbitmq, postgres) for one test, which end
// with it. If they cannot be started the test is skipped, or fails where servers
// must not be missing.
func startOwn(t testing.TB, names ...string) *ownServers {
	t.Helper()
	if !full {
		t.Skip("LEFT OUT: it needs servers that it may stop; make test runs it")
	}
	// Where the script keeps the sets of tests, so that its sweep finds them if
	// this process is killed, and not in a test's own folder, which PostgreSQL's
	// user may not enter.
	root := fmt.Sprintf("/tmp/pizzamill-services-%d", os.Getuid())
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	p := &ownServers{
		t:       t,
		state:   filepath.Join(root, fmt.Sprintf("e2e-%d-%s", os.Getpid(), strings.ToLower(rand.Text()[:6]))),
		address: map[string]string{},
	}
	t.Cleanup(func() {
		if _, err := p.script("wipe", "all"); err != nil {
			t.Errorf("end the test's own servers: %v", err)
		}
		if err := os.RemoveAll(p.state); err != nil {
			t.Error(err)
		}
	})
	if out, err := p.script("up", names...); err != nil {
		why := fmt.Sprintf("%s cannot start %s of its own: %v\n%s", t.Name(), strings.Join(names, ", "), err, out)
		if os.Getenv("CI") == "true" || os.Getenv("PIZZAMILL_TEST_SERVICES") == "required" {
			t.Fatal("NOT RUN: " + why)
		}
		announce("pizzamill: LEFT OUT: " + why)
		t.Skip("NOT RUN: " + why)
	}
	for _, name := range names {
		p.learn(name)
	}
	return p
}

// learn reads where a server is, and keeps the ports beside it, which it takes
// now or later, from being given to somebody else.
func (p *ownServers) learn(name string) {
	p.t.Helper()
	out, err := p.script("env", name)
	if err != nil {
		p.t.Fatalf("where is %s: %v\n%s", name, err, out)
	}
	for _, m := range regexp.MustCompile(`(?m)^export ([A-Z_]+)='(.*)'$`).FindAllStringSubmatch(out, -1) {
		p.address[m[1]] = m[2]
	}
	var first int
	ports := readFile(filepath.Join(p.state, name, "ports"))
	if _, err := fmt.Sscanf(ports, "block=%d", &first); err != nil {
		return // containers have ports of their own inside
	}
	for port := first; port < first+16; port++ {
		givenAddrs.Store(fmt.Sprintf("127.0.0.1:%d", port), true)
	}
}

// script runs the project's script on these servers and on no others. It
// returns what the script prints.
func (p *ownServers) script(verb string, names ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "../scripts/services.sh", append([]string{verb}, names...)...)
	// What is given to all tests is not ours.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "PIZZAMILL_TEST_") || strings.HasPrefix(kv, "SERVICES_")
	})
	cmd.Env = append(cmd.Env, "SERVICES_STATE="+p.state, fmt.Sprintf("SERVICES_OWNER=%d", os.Getpid()))
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// must is script for what has to succeed.
func (p *ownServers) must(verb string, names ...string) {
	p.t.Helper()
	if out, err := p.script(verb, names...); err != nil {
		p.t.Fatalf("services.sh %s %s: %v\n%s", verb, strings.Join(names, " "), err, out)
	}
}

// cluster returns a cluster without a process, on these servers.
func (p *ownServers) cluster(bus, store string, settings ...string) *cluster {
	p.t.Helper()
	c := &cluster{t: p.t, bus: bus, store: store, prefix: "own."}
	c.settings = []string{"BUS_DRIVER=" + bus, "STORE_DRIVER=" + store, "BUS_PREFIX=" + c.prefix, "LOG_LEVEL=info"}
	switch bus {
	case "kafka":
		c.settings = append(c.settings, "KAFKA_BROKERS="+p.address["PIZZAMILL_TEST_KAFKA"], "KAFKA_PARTITIONS=4")
	case "amqp":
		c.settings = append(c.settings, "AMQP_URL="+p.address["PIZZAMILL_TEST_AMQP"],
			"AMQP_MANAGEMENT_URL="+p.address["PIZZAMILL_TEST_RABBITMQ_MANAGEMENT"])
	}
	if store == "postgres" {
		c.settings = append(c.settings, "STORE_DSN="+p.address["PIZZAMILL_TEST_POSTGRES"])
	} else {
		c.settings = append(c.settings, "STORE_PATH="+filepath.Join(p.t.TempDir(), "ledger.db"))
	}
	c.settings = append(c.settings, settings...)
	return c
}
