package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/store"
	"github.com/pizzamill/pizzamill/platform/topology"
)

// fakeBus answers what the admin calls ask a bus.
type fakeBus struct {
	bus.Bus
	err  error
	hang bool // Groups answers when its context ends
}

func (b *fakeBus) Groups(ctx context.Context) ([]bus.Group, error) {
	if b.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return []bus.Group{
		{Subscription: bus.Subscription{Topic: "pizza", Group: "sauce"}, Name: "pizzamill.sauce", Exists: true, Consumers: 2},
		{Subscription: bus.Subscription{Topic: "pizza", Group: "journal"}, Name: "pizzamill.journal.pizza", Exists: true, Consumers: 1},
		{Subscription: bus.Subscription{Topic: "pizza-with-sauce", Group: "journal"}, Name: "pizzamill.journal.pizza-with-sauce", Exists: true},
		{Subscription: bus.Subscription{Topic: "pizza-with-sauce", Group: "basil"}, Name: "pizzamill.basil", Exists: true, Consumers: 1},
	}, b.err
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
		s.Topology = topology.Topology{
			Bus: "kafka", Stages: []string{"sauce", "basil"}, Topics: []string{"pizza"},
			Modules: []topology.Module{
				{Name: "sauce", Consumes: []string{"pizza"}, Produces: []string{"pizza-with-sauce"}},
				{Name: "basil", Consumes: []string{"pizza-with-sauce"}, Produces: []string{}, External: true},
				{Name: "journal", Consumes: []string{"pizza", "pizza-with-sauce"}, Produces: []string{}, Running: true},
				{Name: "ui", Consumes: []string{}, Produces: []string{}, Running: true},
			},
		}
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

// running returns the names of the modules that GET /api/topology says run.
func running(t *testing.T, l *line) string {
	t.Helper()
	a := l.get("/api/topology")
	var got topology.Topology
	if err := json.Unmarshal([]byte(a.body), &got); a.StatusCode != 200 || err != nil {
		t.Fatalf("%d %s: %v", a.StatusCode, a.body, err)
	}
	var names []string
	for _, m := range got.Modules {
		if m.Running {
			names = append(names, m.Name)
		}
	}
	return strings.Join(names, " ")
}

// A module runs where each of its topics has a live consumer, in any process
// and run by anybody. Where the broker does not say, it is this process that
// counts, and the answer comes in time all the same.
func TestTopologyTellsWhatTheBusSees(t *testing.T) {
	b := new(fakeBus)
	l := newAdmin(t, b, nil)
	if got, want := running(t, l), "sauce basil ui"; got != want {
		t.Errorf("running are %q, want %q", got, want)
	}
	b.err = errors.New("no broker")
	if got, want := running(t, l), "journal ui"; got != want {
		t.Errorf("without a broker running are %q, want %q", got, want)
	}
}

// A broker that hangs does not hold up the answer for long.
func TestTopologyComesInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mux := http.NewServeMux()
		Admin(mux, Deps{
			Bus: &fakeBus{hang: true}, Metrics: http.NotFoundHandler(), Log: slog.New(slog.DiscardHandler),
			Topology: topology.Topology{Modules: []topology.Module{{Name: "ui", Running: true}}},
		})
		begin := time.Now()
		rec := httptest.NewRecorder()
		mux.ServeHTTP(rec, httptest.NewRequest("GET", "/api/topology", nil))
		if rec.Code != 200 || !strings.Contains(rec.Body.String(), `"name":"ui","consumes":null,"produces":null,"running":true`) {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
		if took := time.Since(begin); took > topologyTimeout {
			t.Errorf("that took %s", took)
		}
	})
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
	Admin(mux, Deps{Bus: new(fakeBus), Taking: func() error { return nil }, Ready: func() error { return nil }, Metrics: http.NotFoundHandler()})
	for path, want := range map[string]int{"/readyz": 200, "/api/lag": 200, "/api/dead-letters": 404} {
		rec := httptest.NewRecorder()
		mux.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		if rec.Code != want {
			t.Errorf("%s: %d, want %d", path, rec.Code, want)
		}
	}
}

// away is a table of processed events that cannot be reached.
type away struct{ err error }

func (a *away) Check(context.Context) error { return a.err }

// Stages wait while their table of processed events is away, so a process that
// has one is not ready without it.
func TestNotReadyWithoutTheTableOfProcessedEvents(t *testing.T) {
	records := &away{errors.New("no database at 10.0.0.8")}
	ready := func() error { return nil }
	mux := http.NewServeMux()
	Admin(mux, Deps{Bus: &readyBus{}, Taking: ready, Ready: ready, Records: records, Metrics: http.NotFoundHandler()})
	get := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		return w
	}
	if w := get(); w.Code != 503 || !strings.Contains(w.Body.String(), "waiting for the table of processed events (no database at 10.0.0.8)") {
		t.Errorf("without it: %d %s", w.Code, w.Body)
	}
	records.err = nil
	if w := get(); w.Code != 200 {
		t.Errorf("with it: %d %s", w.Code, w.Body)
	}
}

// readyBus is there.
type readyBus struct{ fakeBus }

func (*readyBus) Check(context.Context) error { return nil }
