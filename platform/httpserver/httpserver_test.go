package httpserver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// start serves h on a free port until the test ends.
func start(t *testing.T, h http.Handler) *Server {
	t.Helper()
	ln, err := Listen(t.Context(), "127.0.0.1:0", "test")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(ln, h, quiet())
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.http.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return s
}

// raw sends text as it is and returns the answer.
func raw(t *testing.T, addr, text string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(text, " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

func problemIn(t *testing.T, res *http.Response) Problem {
	t.Helper()
	if ct := res.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("content type %q, want application/problem+json", ct)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var p Problem
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatalf("body %q: %v", body, err)
	}
	if p.Type == "" || p.Title == "" || p.Detail == "" || p.Status != res.StatusCode {
		t.Errorf("status %d: incomplete problem %+v", res.StatusCode, p)
	}
	return p
}

func TestListenErrorNamesAddressAndSetting(t *testing.T) {
	first, err := Listen(t.Context(), "127.0.0.1:0", "--listen, [http] listen")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close() }()
	addr := first.Addr().String()

	_, err = Listen(t.Context(), addr, "--listen, [http] listen")
	want := "listen on " + addr + " (--listen, [http] listen): address already in use"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	var typed *ListenError
	if !errors.As(err, &typed) || !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%#v: want a *ListenError around EADDRINUSE", err)
	}
	if _, err = Listen(t.Context(), "127.0.0.1:notaport", "x"); err == nil || strings.Contains(err.Error(), "listen tcp") {
		t.Errorf("bad port: %v", err)
	}
}

// mux has a little of everything: an API, a page, and one that panics.
func mux(pages bool) *http.ServeMux {
	m := http.NewServeMux()
	ok := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") }
	m.HandleFunc("GET /api/orders", ok)
	m.HandleFunc("POST /api/orders", ok)
	m.HandleFunc("GET /livez", ok)
	m.HandleFunc("GET /metrics", ok)
	m.HandleFunc("GET /{$}", ok)
	m.HandleFunc("GET /orders/{id}", ok)
	m.HandleFunc("POST /orders", ok)
	for _, path := range []string{"GET /api/panic", "GET /panic"} {
		m.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			panic("the oven is cold")
		})
	}
	m.HandleFunc("GET /api/late-panic", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half an")
		_ = http.NewResponseController(w).Flush()
		panic("too late")
	})
	if pages {
		m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			p, ok := ProblemOf(r)
			if !ok {
				panic("no problem")
			}
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(p.Status)
			_, _ = io.WriteString(w, "<p>"+p.Detail+p.Instance)
		})
	}
	return m
}

func TestUnmatchedRequests(t *testing.T) {
	const jsonProblem, html = "application/problem+json", "text/html"
	for _, tc := range []struct {
		method, path string
		status       int
		allow        string
		withPages    string // content type where the mux has pages
	}{
		{"GET", "/api/nothing", 404, "", jsonProblem},
		{"POST", "/api/nothing", 404, "", jsonProblem},
		{"GET", "/api", 404, "", jsonProblem},
		{"GET", "/api/orders/", 404, "", jsonProblem},
		{"DELETE", "/api/orders", 405, "GET, HEAD, POST", jsonProblem},
		{"OPTIONS", "/api/orders", 405, "GET, HEAD, POST", jsonProblem},
		{"BAKE", "/api/orders", 405, "GET, HEAD, POST", jsonProblem},
		{"POST", "/livez", 405, "GET, HEAD", jsonProblem},
		{"POST", "/order/3/4", 404, "", jsonProblem},
		{"GET", "/nothing", 404, "", html},
		{"POST", "/", 405, "GET, HEAD", html},
		{"DELETE", "/orders/1", 405, "GET, HEAD", html},
		{"GET", "/orders", 405, "POST", html},
		{"GET", "/apis", 404, "", html},
	} {
		for _, pages := range []bool{false, true} {
			rec := httptest.NewRecorder()
			Main(mux(pages), quiet()).ServeHTTP(rec, httptest.NewRequest(tc.method, tc.path, nil))
			want := jsonProblem
			if pages {
				want = tc.withPages
			}
			if rec.Code != tc.status || rec.Header().Get("Allow") != tc.allow || rec.Header().Get("Content-Type") != want {
				t.Errorf("%s %s, pages %t: %d, Allow %q, %s; want %d, %q, %s", tc.method, tc.path, pages,
					rec.Code, rec.Header().Get("Allow"), rec.Header().Get("Content-Type"), tc.status, tc.allow, want)
			}
		}
	}
}

func TestHeadHasTheHeadersOfGet(t *testing.T) {
	s := start(t, Main(mux(true), quiet()))
	for path, status := range map[string]int{"/api/orders": 200, "/livez": 200, "/orders/1": 200, "/api/nothing": 404} {
		get := raw(t, s.Addr(), "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		head := raw(t, s.Addr(), "HEAD "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		if head.StatusCode != status || get.StatusCode != status ||
			head.Header.Get("Content-Type") != get.Header.Get("Content-Type") {
			t.Errorf("%s: GET %d %v, HEAD %d %v", path, get.StatusCode, get.Header, head.StatusCode, head.Header)
		}
	}
}

func TestSecurityHeadersAreOnEveryAnswer(t *testing.T) {
	for _, path := range []string{"/", "/api/orders", "/api/nothing", "/panic", "/api/panic"} {
		rec := httptest.NewRecorder()
		Main(mux(true), quiet()).ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		for name, want := range map[string]string{
			"Content-Security-Policy":      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
			"X-Content-Type-Options":       "nosniff",
			"Referrer-Policy":              "same-origin",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := rec.Header().Get(name); got != want {
				t.Errorf("%s: %s: %q", path, name, got)
			}
		}
	}
}

func TestCrossOriginPostsAreRefused(t *testing.T) {
	for _, tc := range []struct {
		name          string
		header, value string
		status        int
	}{
		{"a program", "", "", 200},
		{"our own form", "Sec-Fetch-Site", "same-origin", 200},
		{"another site's form", "Sec-Fetch-Site", "cross-site", 403},
		{"an old browser from elsewhere", "Origin", "https://evil.example", 403},
		{"an old browser from here", "Origin", "http://example.com", 200},
		{"a sandboxed frame", "Origin", "null", 403},
	} {
		for _, path := range []string{"/api/orders", "/orders"} {
			r := httptest.NewRequest("POST", path, nil)
			if tc.header != "" {
				r.Header.Set(tc.header, tc.value)
			}
			rec := httptest.NewRecorder()
			Main(mux(true), quiet()).ServeHTTP(rec, r)
			if rec.Code != tc.status {
				t.Errorf("%s, %s: %d, want %d", tc.name, path, rec.Code, tc.status)
			}
			if rec.Code == 403 && path == "/api/orders" {
				problemIn(t, rec.Result())
			}
		}
	}
}

func TestPanicIsA500ThatTheLogKnows(t *testing.T) {
	for _, path := range []string{"/api/panic", "/panic"} {
		var log bytes.Buffer
		rec := httptest.NewRecorder()
		h := Main(mux(true), slog.New(slog.NewJSONHandler(&log, nil)))
		h.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		if rec.Code != 500 || rec.Header().Get("Content-Length") != "" {
			t.Fatalf("%s: %d %v", path, rec.Code, rec.Header())
		}
		var line struct{ Instance, Panic, Stack string }
		if err := json.Unmarshal(log.Bytes(), &line); err != nil {
			t.Fatalf("log %q: %v", log.String(), err)
		}
		if line.Panic != "the oven is cold" || !strings.Contains(line.Stack, "httpserver_test.go") {
			t.Errorf("log: %+v", line)
		}
		body := rec.Body.String()
		if !strings.HasPrefix(line.Instance, "urn:uuid:") || !strings.Contains(body, line.Instance) ||
			strings.Contains(body, "oven") {
			t.Errorf("%s: body %q, instance in the log %q", path, body, line.Instance)
		}
	}
}

func TestPanicBehindTheHeaderCutsTheAnswer(t *testing.T) {
	s := start(t, Main(mux(false), quiet()))
	res := raw(t, s.Addr(), "GET /api/late-panic HTTP/1.1\r\nHost: x\r\n\r\n")
	if body, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("answer ends as if it were whole: %q", body)
	}
}

func TestRequestLogHasNoSecrets(t *testing.T) {
	var log bytes.Buffer
	h := Admin(mux(false), "s3cret", slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	r := httptest.NewRequest("POST", "/api/orders?key=s3cret", strings.NewReader("s3cret"))
	r.Header.Set("Authorization", "Bearer s3cret")
	h.ServeHTTP(httptest.NewRecorder(), r)
	line := log.String()
	if strings.Contains(line, "s3cret") {
		t.Errorf("secret in the log: %s", line)
	}
	for _, want := range []string{"method=POST", "path=/api/orders", "status=200", "bytes=4"} {
		if !strings.Contains(line, want) {
			t.Errorf("no %s in %s", want, line)
		}
	}
}

func TestShutdownEndsStreamsAndLetsRequestsFinish(t *testing.T) {
	entered, release := make(chan string, 2), make(chan struct{})
	m := http.NewServeMux()
	m.HandleFunc("GET /stream", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		entered <- "stream"
		<-Stopping(r.Context())
	})
	m.HandleFunc("GET /order", func(w http.ResponseWriter, r *http.Request) {
		entered <- "order"
		<-Stopping(r.Context())
		<-release
		if r.Context().Err() == nil {
			_, _ = io.WriteString(w, "done")
		}
	})
	ln, err := Listen(t.Context(), "127.0.0.1:0", "test")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(ln, Main(m, quiet()), quiet())
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	bodies := make(chan string, 2)
	for _, path := range []string{"/stream", "/order"} {
		go func() {
			res := raw(t, s.Addr(), "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Errorf("%s: %v", path, err)
			}
			bodies <- string(body)
		}()
		<-entered
	}
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(t.Context()) }()
	if got := <-bodies; got != "" {
		t.Errorf("first to end: %q, want the stream", got)
	}
	close(release)
	if got := <-bodies; got != "done" {
		t.Errorf("request in hand: %q, want done", got)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestShutdownCutsWhatDoesNotEnd(t *testing.T) {
	entered, gone := make(chan struct{}), make(chan struct{})
	m := http.NewServeMux()
	m.HandleFunc("GET /stuck", func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		close(gone)
	})
	ln, err := Listen(t.Context(), "127.0.0.1:0", "test")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(ln, Main(m, quiet()), quiet())
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("shutdown: %v", err)
	}
	<-gone
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestReachable(t *testing.T) {
	for host, want := range map[string]string{
		"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1", "127.0.0.2": "127.0.0.2", "10.1.2.3": "10.1.2.3", "host": "host", "::1": "::1",
	} {
		if got := Reachable(host); got != want {
			t.Errorf("Reachable(%q) is %q, want %q", host, got, want)
		}
	}
}
