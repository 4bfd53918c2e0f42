package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// reply is an answer to bytes that a test wrote itself.
type reply struct {
	status int
	header http.Header
	body   string
}

// request11 writes an HTTP/1.1 request as bytes: nothing is made right on the
// way. Headers are "Name: value". The body gets a Content-Length of its own.
func request11(method, target, host string, headers []string, body string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", method, target, host)
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	if body != "" || method == http.MethodPost {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	return b.String() + "\r\n" + body
}

// send writes bytes to an address and reads one answer.
func send(t testing.TB, addr, request string) reply {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// A server may answer before it has read everything, so an error here says nothing.
	_, _ = io.WriteString(conn, request)
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("read the answer to %.200q: %v", request, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("read the body of the answer to %.200q: %v", request, err)
	}
	return reply{status: res.StatusCode, header: res.Header, body: string(body)}
}

// wantProblem checks that an answer is a problem document with this status.
func wantProblem(t testing.TB, r reply, status int) {
	t.Helper()
	if r.status != status {
		t.Errorf("status %d, want %d: %.300s", r.status, status, r.body)
		return
	}
	if got := r.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type %q, want application/problem+json: %.300s", got, r.body)
		return
	}
	var p struct {
		Type, Title, Detail string
		Status              int
	}
	if err := json.Unmarshal([]byte(r.body), &p); err != nil {
		t.Errorf("problem document: %v: %.300s", err, r.body)
		return
	}
	if p.Type == "" || p.Title == "" || p.Detail == "" || p.Status != status {
		t.Errorf("problem document lacks type, title, status or detail: %s", r.body)
	}
}

// wantAllow checks the methods that a 405 names.
func wantAllow(t testing.TB, r reply, methods ...string) {
	t.Helper()
	wantProblem(t, r, http.StatusMethodNotAllowed)
	allow := map[string]bool{}
	for m := range strings.SplitSeq(r.header.Get("Allow"), ",") {
		allow[strings.TrimSpace(m)] = true
	}
	for _, m := range methods {
		if !allow[m] {
			t.Errorf("Allow is %q and lacks %s", r.header.Get("Allow"), m)
		}
	}
}

// trace is what a refused request must not change.
type trace struct {
	orders  int
	ordered int
}

func (s *server) trace() trace {
	s.t.Helper()
	orders, err := s.allOrders(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return trace{orders: len(orders), ordered: s.mustScrape().pizzas("ordered")}
}
