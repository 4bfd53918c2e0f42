package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/store"
)

// fakeBus answers what the admin calls ask a bus.
type fakeBus struct {
	bus.Bus
	err error
}

func (b *fakeBus) Lag(context.Context) ([]bus.Lag, error) {
	return []bus.Lag{
		{Subscription: bus.Subscription{Topic: "pizza", Group: "sauce"}, Messages: 3},
		{Subscription: bus.Subscription{Topic: "pizza", Group: "journal"}},
	}, b.err
}

func (b *fakeBus) Check(context.Context) error { return b.err }

// newAdmin serves the admin calls on a bus.
func newAdmin(t *testing.T, b *fakeBus, change func(*Deps, *http.ServeMux)) *line {
	return newLine(t, func(s *server) {
		s.Bus = b
		s.Topology = map[string]any{"bus": "gochannel"}
		s.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics\n") })
	}, func(mux *http.ServeMux, s *server) {
		if change != nil {
			change(&s.Deps, mux)
		}
		Admin(mux, s.Deps)
	})
}

func TestAdminCalls(t *testing.T) {
	l := newAdmin(t, new(fakeBus), nil)
	id := l.place(3)
	l.bury(id, 1, "letter-1xxxxxxxxxxxx")
	l.bury(id, 2, "letter-2xxxxxxxxxxxx")
	at := start.Add(time.Hour)
	err := l.Ledger.AddDeadLetter(t.Context(), store.DeadLetter{
		ID: "letter_3", Topic: "pizza-with-sauce", Module: "cheese", Error: "not JSON", Kind: store.KindPoison, Attempts: 1,
		Fingerprint: "f2", FirstFailed: at, LastFailed: at, Body: []byte("\xff\xfe"),
	})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "admin.golden", l.transcript(
		"GET /api/dead-letters", "GET /api/dead-letters?limit=1", "GET /api/dead-letters?limit=1&after=letter-1xxxxxxxxxxxx",
		"GET /api/dead-letters?module=cheese", "GET /api/dead-letters?topic=pizza&limit=1", "GET /api/dead-letters?order="+id+"&after=letter-1xxxxxxxxxxxx",
		"GET /api/dead-letters?status=discarded", "GET /api/dead-letters?status=&module=&topic=&order=&limit=1",
		"GET /api/dead-letters/letter-1xxxxxxxxxxxx", "GET /api/dead-letters/letter_3", "GET /api/dead-letters/nope",
		"GET /api/lag", "GET /api/topology", "GET /metrics", "GET /livez", "GET /readyz", "POST /api/lag", "GET /api/orders",
	))
	for _, query := range []string{
		"limit=0", "limit=1001", "limit=x", "limit=1&limit=1", "status=burnt", "after=", "after=%2F", "after=a&after=a",
		"after=" + strings.Repeat("a", 256), "module=a&module=b",
	} {
		l.wantProblem(query, l.get("/api/dead-letters?"+query), 400)
	}
}

func TestAdminReady(t *testing.T) {
	b := &fakeBus{err: errors.New("no broker at 10.0.0.7")}
	l := newAdmin(t, b, nil)
	l.db.fails.Store(true)
	a := l.get("/readyz")
	l.wantProblem("nothing there", a, 503)
	if !strings.Contains(a.body, "waiting for the bus (no broker at 10.0.0.7) and for the store (") || !strings.Contains(a.body, errDisk.Error()) {
		t.Errorf("readyz: %s", a.body)
	}
	l.wantProblem("lag", l.get("/api/lag"), 503)
	b.err = nil
	if a := l.get("/readyz"); strings.Contains(a.body, "bus") || !strings.Contains(a.body, "waiting for the store") {
		t.Errorf("readyz without the store: %s", a.body)
	}
	l.db.fails.Store(false)
	if a := l.get("/readyz"); a.StatusCode != 200 || a.body != `{"status":"ok"}`+"\n" {
		t.Errorf("readyz: %d %s", a.StatusCode, a.body)
	}
}

func TestAdminFrontPage(t *testing.T) {
	var list struct{ Name, Version string }
	a := newAdmin(t, new(fakeBus), nil).get("/")
	if err := json.Unmarshal([]byte(a.body), &list); err != nil || list.Name != "pizzamill" || list.Version == "" {
		t.Errorf("%s: %v", a.body, err)
	}
	for _, call := range []string{"/api/dead-letters", "/api/lag", "/api/topology", "/metrics", "/livez", "/readyz"} {
		if !strings.Contains(a.body, `"`+call+`"`) {
			t.Errorf("no %s in %s", call, a.body)
		}
	}
	page := func(_ *Deps, mux *http.ServeMux) {
		mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the kitchen") })
	}
	if a := newAdmin(t, new(fakeBus), page).get("/"); a.body != "the kitchen" {
		t.Errorf("a page that was there first: %s", a.body)
	}
	pages := func(_ *Deps, mux *http.ServeMux) { mux.HandleFunc("/", http.NotFound) }
	if a := newAdmin(t, new(fakeBus), pages).get("/"); a.StatusCode != 200 {
		t.Errorf("with pages for errors only: %d", a.StatusCode)
	}
}

// A process of stages has no ledger, and no calls that need it.
func TestAdminWithoutALedger(t *testing.T) {
	mux := http.NewServeMux()
	Admin(mux, Deps{Bus: new(fakeBus), Taking: func() error { return nil }, Metrics: http.NotFoundHandler()})
	for path, want := range map[string]int{"/readyz": 200, "/api/lag": 200, "/api/dead-letters": 404} {
		rec := httptest.NewRecorder()
		mux.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		if rec.Code != want {
			t.Errorf("%s: %d, want %d", path, rec.Code, want)
		}
	}
}
