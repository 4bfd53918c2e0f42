package ui

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/httpserver"
	"github.com/pizzamill/pizzamill/platform/module"
	"github.com/pizzamill/pizzamill/platform/store"
	"github.com/pizzamill/pizzamill/platform/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kitchenSink is the pages over a real ledger, with the listeners' own chain.
type kitchenSink struct {
	t      *testing.T
	ledger *store.Ledger
	db     *sqlite.DB
	main   *site
	Main   http.Handler
	Admin  http.Handler
	away   atomic.Bool                   // the store cannot be read,
	grace  atomic.Int64                  // but for so many times
	outage atomic.Pointer[module.Outage] // of the broker
}

// leaky is a database that can be away.
type leaky struct {
	store.Driver
	k *kitchenSink
}

func (l leaky) View(ctx context.Context, fn func(store.ReadTx) error) error {
	if l.k.away.Load() && l.k.grace.Add(-1) < 0 {
		return store.ErrUnavailable
	}
	return l.Driver.View(ctx, fn)
}

func newKitchen(t *testing.T) *kitchenSink {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	pl := testPipeline(t)
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	k := &kitchenSink{t: t, db: db}
	ledger := store.New(leaky{db, k}, store.Options{Pipeline: pl, Log: log})
	t.Cleanup(func() {
		if err := errors.Join(ledger.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	if err := ledger.Start(t.Context(), store.Process{ID: "p", Bus: "test", Alone: true}); err != nil {
		t.Fatal(err)
	}
	main := &site{
		ledger: ledger, pipeline: pl, max: 1000, log: log, now: time.Now,
		store: watchStore(ledger, time.Now), outage: k.outage.Load, broker: "Kafka", runs: inMemory,
		lag: func(context.Context) ([]bus.Lag, error) {
			return []bus.Lag{{Subscription: bus.Subscription{Topic: "pizza", Group: "sauce"}, Messages: 3}}, nil
		},
	}
	admin := *main
	admin.admin = true
	k.ledger, k.main = ledger, main
	mux := http.NewServeMux()
	main.mount(mux)
	k.Main = httpserver.Main(mux, log)
	mux = http.NewServeMux()
	admin.mount(mux)
	k.Admin = httpserver.Admin(mux, "", log)
	return k
}

// place orders pizzas directly.
func (k *kitchenSink) place(count int) string {
	k.t.Helper()
	o, _, err := k.ledger.PlaceOrder(k.t.Context(), count, "")
	if err != nil {
		k.t.Fatal(err)
	}
	return o.ID
}

// advance takes a pizza through steps, such as "pizza" and "sauce=pesto".
func (k *kitchenSink) advance(order string, number int, on ...string) {
	k.t.Helper()
	id := event.PizzaID{Order: order, Number: number}
	body := event.New(id, 0)
	var facts []store.Fact
	for _, s := range on {
		stage, value, set := strings.Cut(s, "=")
		if set {
			body = body.With(stage, value)
		}
		facts = append(facts, store.Fact{Pizza: id, Step: stage, At: time.Now(), Source: stage, Body: body.Body()})
	}
	errs, err := k.ledger.Advance(k.t.Context(), facts)
	if err := errors.Join(append(errs, err)...); err != nil {
		k.t.Fatal(err)
	}
}

// finish takes a pizza along the whole line.
func (k *kitchenSink) finish(order string, number int) {
	k.t.Helper()
	k.advance(order, number, "pizza", "sauce=tomato", "cheese=burrata", "meat=prosciutto", "veggies=basil")
}

// bury dead-letters a pizza at a stage.
func (k *kitchenSink) bury(order string, number int, module, topic string) {
	k.t.Helper()
	id := event.PizzaID{Order: order, Number: number}
	err := k.ledger.AddDeadLetter(k.t.Context(), store.DeadLetter{
		ID: store.LetterID(module, id.String()), Pizza: &id, Topic: topic, Module: module, Error: "the ham is out",
		Kind: store.KindExhausted, Attempts: 5, FirstFailed: time.Now(), LastFailed: time.Now(), Body: event.New(id, 0).Body(),
	})
	if err != nil {
		k.t.Fatal(err)
	}
}

type answer struct {
	*http.Response
	Text string
}

func ask(h http.Handler, r *http.Request) answer {
	r.Host = "localhost"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	res := w.Result()
	text, _ := io.ReadAll(res.Body)
	return answer{res, string(text)}
}

func get(h http.Handler, path string) answer {
	return ask(h, httptest.NewRequest(http.MethodGet, path, nil))
}

func postForm(h http.Handler, fields ...string) answer {
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	r := httptest.NewRequest(http.MethodPost, "/orders", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	return ask(h, r)
}

// want checks the status and that the page says things.
func (a answer) want(t *testing.T, status int, says ...string) {
	t.Helper()
	if a.StatusCode != status {
		t.Errorf("status %d, want %d", a.StatusCode, status)
	}
	for _, s := range says {
		if !strings.Contains(a.Text, s) {
			t.Errorf("the page does not say %q:\n%.3000s", s, a.Text)
		}
	}
}

func (k *kitchenSink) ordered() int64 {
	k.t.Helper()
	totals, err := k.ledger.Totals(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	return totals.Ordered
}
