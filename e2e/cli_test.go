package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestCommands goes through the command line as a user does, with a server up.
func TestCommands(t *testing.T) {
	s := start(t)
	if banner := s.proc.output(); !strings.Contains(banner, s.main) || !strings.Contains(banner, s.admin) {
		t.Errorf("the block at the start does not name both addresses:\n%s", banner)
	}
	expect := func(code int, args ...string) result {
		t.Helper()
		r := s.command(args...)
		if r.code != code {
			t.Errorf("pizzamill %s: exit status %d, want %d\nstdout: %s\nstderr: %s", strings.Join(args, " "), r.code, code, tail(r.stdout), tail(r.stderr))
		}
		return r
	}
	var o orderDoc
	r := expect(0, "order", "3", "--watch", "-o", "json")
	if err := json.Unmarshal([]byte(lastLine(r.stdout)), &o); err != nil || o.Status != "complete" {
		t.Errorf("order 3 --watch -o json: %v\n%s", err, r.stdout)
	}
	r = expect(0, "order", "2", "--server", "http://"+s.main+"/")
	if !strings.Contains(r.stdout, "/orders/") {
		t.Errorf("order 2 does not say where to look:\n%s", r.stdout)
	}
	var j journalDoc
	r = expect(0, "journal", o.ID+"-1", "-o", "json")
	if err := json.Unmarshal([]byte(r.stdout), &j); err != nil || len(j.Events) != 5 {
		t.Errorf("journal -o json: %v\n%s", err, r.stdout)
	}
	r = expect(0, "journal", o.ID+"-1")
	if !strings.Contains(r.stdout, "pizza-with-veggies") {
		t.Errorf("journal:\n%s", r.stdout)
	}
	expect(1, "journal", "nobody-1")
	expect(0, "healthcheck")
	var topology struct {
		Topics []string `json:"topics"`
	}
	r = expect(0, "topology", "-o", "json")
	if err := json.Unmarshal([]byte(r.stdout), &topology); err != nil || len(topology.Topics) < 5 {
		t.Errorf("topology -o json: %v\n%s", err, r.stdout)
	}
	if r = expect(0, "topology", "-o", "mermaid"); !strings.Contains(r.stdout, "flowchart") {
		t.Errorf("topology -o mermaid:\n%s", r.stdout)
	}
	if r = expect(0, "version"); strings.Count(r.stdout, "\n") != 1 {
		t.Errorf("version is not one line:\n%s", r.stdout)
	}
	if r = expect(0, "completion", "bash"); len(r.stdout) < 1000 {
		t.Errorf("completion bash:\n%s", r.stdout)
	}
	for _, args := range [][]string{
		{"order"}, {"order", "0"}, {"order", "-1"}, {"order", "1.5"}, {"order", "x"}, {"order", "3", "4"}, {"order", "3", "-o", "xml"},
		{"journal"}, {"bake"}, {"serve", "--port", "1"}, {"serve", "--modules", "sauce"}, {"serve", "--modules", "sause"}, {"serve", "--modules", ""}, {"serve", "--bus", "nats"},
	} {
		if r := expect(2, args...); r.stderr == "" || r.stdout != "" {
			t.Errorf("%v: a usage error belongs on standard error\nstdout: %s", args, r.stdout)
		}
	}
	if code, _ := s.terminate(45 * time.Second); code != 0 {
		t.Errorf("exit status %d", code)
	}
	expect(4, "order", "3")
	expect(4, "journal", o.ID+"-1")
	expect(4, "healthcheck")
}

// TestConfigFile reads what config default prints, and tells every mistake at once.
func TestConfigFile(t *testing.T) {
	s := newServer(t, binary(t))
	s.env = nil
	defaults := s.command("config", "default")
	if defaults.code != 0 {
		t.Fatalf("config default: exit status %d\n%s", defaults.code, defaults.stderr)
	}
	if shipped := readFile("../config.example.toml"); shipped != defaults.stdout {
		t.Error("config.example.toml is not what config default prints")
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(s.dir, "config.toml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(defaults.stdout)
	if r := s.command("config", "check"); r.code != 0 {
		t.Errorf("config check of the defaults: exit status %d\n%s", r.code, r.stderr)
	}
	write("[pipeline]\nstage = [\"sauce\"]\nstages = [\"sauce\", \"chese\"]\n\n[retry]\nmax_attempts = \"five\"\n\n[admin]\ntoken = 12345678\n")
	r := s.command("config", "check")
	for _, want := range []string{"config.toml:2:", "config.toml:3:", "config.toml:6:", "stages", "cheese", "max_attempts"} {
		if r.code != 3 || !strings.Contains(r.stderr, want) {
			t.Errorf("config check: exit status %d, want 3, and %q in\n%s", r.code, want, r.stderr)
		}
	}
	if strings.Contains(r.stderr+r.stdout, "12345678") {
		t.Errorf("the message about a malformed token shows it:\n%s", r.stderr)
	}
	write("")
	s.env = []string{"STORE_PAHT=x"}
	if r := s.command("serve"); r.code != 3 || !strings.Contains(r.stderr, "PIZZAMILL_STORE_PATH") {
		t.Errorf("an unknown variable: exit status %d, want 3 and the near miss\n%s", r.code, r.stderr)
	}
	s.env = []string{"ADMIN_TOKEN=correct-horse-battery"}
	if r := s.command("config", "print"); r.code != 0 || strings.Contains(r.stdout, "correct-horse") {
		t.Errorf("config print: exit status %d, and the token must not be in it\n%s", r.code, r.stdout)
	}
}

// TestWatchInterrupted presses Ctrl-C while an order is watched.
func TestWatchInterrupted(t *testing.T) {
	s := start(t, "FAULTS_DELAY=sauce=2s", "RETRY_ATTEMPT_TIMEOUT=10s")
	p := s.spawn("order", "1", "--watch")
	s.awaitOneOrder()
	p.signal(syscall.SIGINT)
	if code, ok := p.wait(10 * time.Second); !ok || code != 130 {
		t.Errorf("order --watch after an interrupt: over %v, exit status %d; want 130\n%s", ok, code, p.errors())
	}
}

// awaitOneOrder waits until somebody has ordered.
func (s *server) awaitOneOrder() {
	s.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for {
		if s.trace().orders > 0 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatal("nobody ordered")
		}
	}
}
