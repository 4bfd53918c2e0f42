package e2e

import (
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestForeignHosts asks the open admin by names that are not this machine's, as
// a page does whose name was made to point here.
func TestForeignHosts(t *testing.T) {
	s := start(t)
	_, port, _ := strings.Cut(s.admin, ":")
	for _, host := range []string{"evil.example", "evil.example:" + port, "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::2]:" + port, "0.0.0.0"} {
		t.Run(host, func(t *testing.T) {
			for _, path := range []string{"/api/dead-letters", "/api/lag", "/api/topology"} {
				wantProblem(t, send(t, s.admin, request11("GET", path, host, nil, "")), http.StatusForbidden)
			}
			if r := send(t, s.admin, request11("GET", "/orders", host, nil, "")); r.status != http.StatusForbidden {
				t.Errorf("GET /orders: status %d", r.status)
			}
		})
	}
	for _, host := range []string{"localhost", "localhost:" + port, "127.0.0.1", s.admin, "[::1]:" + port, "[::1]", "127.1.2.3"} {
		t.Run(host, func(t *testing.T) {
			if r := send(t, s.admin, request11("GET", "/api/lag", host, nil, "")); r.status != http.StatusOK {
				t.Errorf("status %d: %s", r.status, r.body)
			}
		})
	}
}

// TestCrossOrigin posts as a page of another site would make a browser do.
func TestCrossOrigin(t *testing.T) {
	s := start(t)
	before := s.trace()
	form := "Content-Type: application/x-www-form-urlencoded"
	for name, headers := range map[string][]string{
		"fetch metadata": {"Sec-Fetch-Site: cross-site"},
		"same site":      {"Sec-Fetch-Site: same-site"},
		"origin":         {"Origin: http://evil.example"},
		"null origin":    {"Origin: null"},
	} {
		t.Run(name, func(t *testing.T) {
			wantProblem(t, send(t, s.main, request11("POST", "/api/orders", s.main, append(headers, jsonType), `{"count":3}`)), http.StatusForbidden)
			wantProblem(t, send(t, s.main, request11("POST", "/order/3", s.main, headers, "")), http.StatusForbidden)
			if r := send(t, s.main, request11("POST", "/orders", s.main, append(headers, form), "count=3")); r.status != http.StatusForbidden {
				t.Errorf("POST /orders: status %d", r.status)
			}
		})
	}
	if after := s.trace(); after != before {
		t.Errorf("refused posts left a trace: before %+v, after %+v", before, after)
	}
	for name, headers := range map[string][]string{
		"same origin": {"Sec-Fetch-Site: same-origin", "Origin: http://" + s.main},
		"no browser":  nil,
	} {
		t.Run(name, func(t *testing.T) {
			if r := send(t, s.main, request11("POST", "/api/orders", s.main, append(headers, jsonType), `{"count":3}`)); r.status != http.StatusAccepted {
				t.Errorf("status %d: %s", r.status, r.body)
			}
		})
	}
}

// TestAdminToken wants the token for all but the probes and the metrics, and
// in no log.
func TestAdminToken(t *testing.T) {
	const token = "correct-horse-battery"
	s := start(t, "ADMIN_TOKEN="+token, "LOG_LEVEL=debug")
	basic := func(password string) string {
		req := http.Request{Header: http.Header{}}
		req.SetBasicAuth("anyone", password)
		return "Authorization: " + req.Header.Get("Authorization")
	}
	ask := func(path string, headers ...string) reply {
		return send(t, s.admin, request11("GET", path, "pizzamill.example", headers, ""))
	}
	for name, headers := range map[string][]string{
		"none":         nil,
		"other":        {"Authorization: Bearer wrong"},
		"longer":       {"Authorization: Bearer " + token + "x"},
		"empty":        {"Authorization: Bearer "},
		"other basic":  {basic("wrong")},
		"no scheme":    {"Authorization: " + token},
		"token as key": {"X-Token: " + token},
	} {
		t.Run(name, func(t *testing.T) {
			r := ask("/api/dead-letters", headers...)
			wantProblem(t, r, http.StatusUnauthorized)
			if r.header.Get("WWW-Authenticate") == "" {
				t.Error("401 without WWW-Authenticate")
			}
			if r := ask("/orders", headers...); r.status != http.StatusUnauthorized {
				t.Errorf("GET /orders: status %d", r.status)
			}
		})
	}
	for _, header := range []string{"Authorization: Bearer " + token, "Authorization: bearer " + token, basic(token)} {
		if r := ask("/api/dead-letters", header); r.status != http.StatusOK {
			t.Errorf("%s: status %d", header, r.status)
		}
	}
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		if r := ask(path); r.status != http.StatusOK {
			t.Errorf("%s without token: status %d", path, r.status)
		}
	}
	s.kill()
	if log := s.proc.errors() + s.proc.output(); strings.Contains(log, token) {
		t.Error("the token is in the output of the process")
	}
}

// TestLogsHaveNoBodies runs an order, and a fault, at debug level.
func TestLogsHaveNoBodies(t *testing.T) {
	s := start(t, append([]string{"LOG_LEVEL=debug", "LOG_FORMAT=json", "FAULTS_FAIL=meat=0.3"}, quickRetries...)...)
	id := s.mustOrder(30)
	s.awaitPartialOrComplete(id)
	o, err := s.wholeOrder(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if code, _ := s.terminate(45 * time.Second); code != 0 {
		t.Errorf("exit status %d", code)
	}
	log := s.proc.errors()
	if len(log) == 0 {
		t.Fatal("no log at debug level: this showed nothing")
	}
	for _, p := range o.Pizzas {
		for _, stage := range pipeline {
			if text, _ := p[stage].(string); len(text) > 4 && strings.Contains(log, text) {
				t.Errorf("the log has the %s of pizza %v", stage, p["id"])
			}
		}
	}
	if strings.Contains(log, `\"order_id\"`) || strings.Contains(log, "eyJ") {
		t.Error("the log has a body")
	}
}

// TestSecondProcess starts a second process beside one that runs: on its
// addresses, and on its database.
func TestSecondProcess(t *testing.T) {
	s := start(t)
	s.mustComplete(s.mustOrder(2), refusalLimit)

	r := s.command("serve", "--admin-listen", freeAddr(t))
	if r.code != 1 || !strings.Contains(r.stderr, s.main) || !strings.Contains(r.stderr, "--listen") {
		t.Errorf("on a main address that is taken: exit status %d; want 1, the address and the flag\n%s", r.code, r.stderr)
	}
	r = s.command("serve", "--listen", freeAddr(t))
	if r.code != 1 || !strings.Contains(r.stderr, s.admin) || !strings.Contains(r.stderr, "--admin-listen") {
		t.Errorf("on an admin address that is taken: exit status %d; want 1, the address and the flag\n%s", r.code, r.stderr)
	}
	r = s.command("serve", "--listen", freeAddr(t), "--admin-listen", freeAddr(t))
	if r.code != 1 || !strings.Contains(r.stderr, pid(s)) {
		t.Errorf("on a database that is in use: exit status %d; want 1 and process %s named\n%s", r.code, pid(s), r.stderr)
	}
	// The first one noticed nothing.
	s.mustComplete(s.mustOrder(2), refusalLimit)
	if got := s.trace(); got != (trace{orders: 2, ordered: 4}) {
		t.Errorf("after the second processes: %+v", got)
	}
	// A crash leaves a lock file that holds nobody up.
	s.kill()
	s.boot()
	s.awaitReady()
	s.mustComplete(s.mustOrder(1), refusalLimit)
}

// TestOpenAdminRefused wants a token before the admin leaves this machine.
func TestOpenAdminRefused(t *testing.T) {
	s := newServer(t, binary(t))
	r := s.command("serve", "--admin-listen", "0.0.0.0:"+strings.Split(s.admin, ":")[1])
	if r.code != 3 || !strings.Contains(r.stderr, "token") {
		t.Errorf("admin on all addresses without a token: exit status %d; want 3 and the remedy\n%s", r.code, r.stderr)
	}
	if _, err := os.Stat(s.dir + "/data"); err == nil {
		t.Error("a process that was refused made its data folder")
	}
}

// pid names the process of a server as a message would.
func pid(s *server) string { return strconv.Itoa(s.proc.cmd.Process.Pid) }
