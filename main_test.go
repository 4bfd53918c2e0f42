package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pizzamill/pizzamill/modules"
	"github.com/pizzamill/pizzamill/platform/app"
	"github.com/pizzamill/pizzamill/platform/config"
	"github.com/pizzamill/pizzamill/platform/httpserver"
	"github.com/pizzamill/pizzamill/platform/store/sqlite"
	"github.com/pizzamill/pizzamill/ui"
)

func options(t testing.TB) app.Options {
	t.Helper()
	c := config.Default()
	c.HTTP.Listen, c.Admin.Listen = "127.0.0.1:0", "127.0.0.1:0"
	c.Store.Path = filepath.Join(t.TempDir(), "pizzamill.db")
	return app.Options{
		Config:  c,
		Modules: append(modules.All(), ui.Module),
		Log:     slog.New(slog.DiscardHandler),
	}
}

// start runs a process until stop is called, which returns what Run returned.
func start(t testing.TB, o app.Options) (mainURL, adminURL string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan [2]string, 1), make(chan error, 1)
	o.Ready = func(main, admin string) { ready <- [2]string{"http://" + main, "http://" + admin} }
	go func() { done <- app.Run(ctx, o) }()
	select {
	case urls := <-ready:
		return urls[0], urls[1], func() error { cancel(); return <-done }
	case err := <-done:
		cancel()
		t.Fatalf("did not start: %v", err)
	}
	return "", "", nil
}

func get(t testing.TB, url string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b.String()
}

// A process that has run and stopped leaves no goroutine, no listener and no
// lock behind: the next one on the same database and addresses starts.
func TestAProcessLeavesNothingBehind(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent()) // another test cuts attempts off
	defer http.DefaultClient.CloseIdleConnections()
	o := options(t)
	var banner bytes.Buffer
	var metrics string
	o.Banner = &banner
	for i := range 2 {
		url, admin, stop := start(t, o)
		o.Config.HTTP.Listen = strings.TrimPrefix(url, "http://")
		o.Config.Admin.Listen = strings.TrimPrefix(admin, "http://")
		bake(t, url, 50)
		if status, body := get(t, admin+"/readyz"); status != http.StatusOK {
			t.Errorf("readyz: %d %s", status, body)
		}
		if _, metrics = get(t, admin+"/metrics"); !strings.Contains(metrics, "pizzamill_pizzas{state=\"completed\"} "+[]string{"50", "100"}[i]) {
			t.Error("the metrics do not count what was completed")
		}
		http.DefaultClient.CloseIdleConnections()
		if err := stop(); err != nil {
			t.Fatalf("stop: %v", err)
		}
	}
	if !strings.Contains(metrics, "pizzamill_pizza_seconds_count 50\n") || !strings.Contains(metrics, "pizzamill_pipeline_info{hash=") {
		t.Error("the metrics do not say how long the pizzas took, or in which pipeline")
	}
	for _, want := range []string{"order page ", "kitchen (admin) ", "API ", "store ", "bus "} {
		if !strings.Contains(banner.String(), "  "+want) {
			t.Errorf("banner lacks %q:\n%s", want, banner.String())
		}
	}
}

// A start that fails halfway undoes what it has done.
func TestAStartThatFailsLeavesNothingBehind(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent()) // another test cuts attempts off
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	o := options(t)
	o.Config.HTTP.Listen = taken.Addr().String()
	var inUse *httpserver.ListenError
	if err := app.Run(t.Context(), o); !errors.As(err, &inUse) || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("address taken: %v", err)
	}
	o.Config.HTTP.Listen = "127.0.0.1:0"
	_, _, stop := start(t, o)
	var locked *sqlite.InUseError
	if err := app.Run(t.Context(), o); !errors.As(err, &locked) {
		t.Errorf("database taken: %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// A client that never finishes its request, or a stage in the middle of a long
// attempt, does not make a stop fail: each has its share of the time.
func TestAStopCutsOffWhatTakesTooLong(t *testing.T) {
	o := options(t)
	o.Config.App.ShutdownTimeout = 2 * time.Second
	o.Config.Retry.AttemptTimeout = time.Minute
	o.Config.Faults.Delay = map[string]time.Duration{"sauce": 20 * time.Second}
	url, _, stop := start(t, o)
	resp, err := http.Post(url+"/api/orders", "application/json", strings.NewReader(`{"count":3}`))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	slow, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = slow.Close() }()
	if _, err := slow.Write([]byte("POST /api/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{")); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if took := time.Since(begin); took > o.Config.App.ShutdownTimeout {
		t.Errorf("stopping took %v of %v", took, o.Config.App.ShutdownTimeout)
	}
}
