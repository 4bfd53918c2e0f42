package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/httpserver"
	"github.com/pizzamill/pizzamill/platform/store"
	"github.com/pizzamill/pizzamill/platform/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// line is the API over a ledger in a real database, on a real listener.
type line struct {
	*server
	t      *testing.T
	db     *database
	steps  []string
	addr   string
	http   *httpserver.Server
	served chan error
	stop   func() // the listener; more than once does no harm
}

// database counts what is read, and fails when told to.
type database struct {
	store.Driver
	views atomic.Int64
	fails atomic.Bool
}

var _ store.Driver = (*database)(nil)

var errDisk = errors.New("disk on fire")

func (d *database) View(ctx context.Context, fn func(store.ReadTx) error) error {
	d.views.Add(1)
	if d.fails.Load() {
		return errDisk
	}
	return d.Driver.View(ctx, fn)
}

func (d *database) Update(ctx context.Context, fn func(store.Tx) error) error {
	if d.fails.Load() {
		return errDisk
	}
	return d.Driver.Update(ctx, fn)
}

// start is when every order is placed: the ledger's clock stands still.
var start = time.Date(2026, 11, 23, 10, 0, 0, 123_000_000, time.UTC)

// newLine serves what mount mounts. change may change the server before.
func newLine(t *testing.T, change func(*server), mount func(*http.ServeMux, *server)) *line {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	pipeline, err := event.NewPipeline("sauce", "cheese", "meat", "veggies")
	if err != nil {
		t.Fatal(err)
	}
	driver, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	db := &database{Driver: driver}
	ledger := store.New(db, store.Options{
		Pipeline: pipeline, Log: log,
		Now: func() time.Time { return start }, Random: strings.NewReader(strings.Repeat("pizzamill", 99)),
	})
	if err := ledger.Start(t.Context(), store.Process{ID: "p", Bus: "test", Alone: true}); err != nil {
		t.Fatal(err)
	}
	l := &line{
		t: t, db: db, steps: pipeline.Steps(), served: make(chan error, 1),
		server: &server{
			Deps: Deps{Ledger: ledger, MaxPizzas: 1000, Taking: func() error { return nil }, Ready: func() error { return nil }, Log: log},
			pace: defaultPace,
		},
	}
	if change != nil {
		change(l.server)
	}
	mux := http.NewServeMux()
	mount(mux, l.server)
	ln, err := httpserver.Listen(t.Context(), "127.0.0.1:0", "test")
	if err != nil {
		t.Fatal(err)
	}
	l.http = httpserver.NewServer(smallBuffers{ln}, httpserver.Main(mux, log), log)
	l.addr = l.http.Addr()
	go func() { l.served <- l.http.Serve() }()
	l.stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := l.http.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-l.served; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		l.stop()
		if err := ledger.Close(); err != nil {
			t.Error(err)
		}
		if err := driver.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// smallBuffers lets little be on its way to a client that does not read.
type smallBuffers struct{ net.Listener }

func (s smallBuffers) Accept() (net.Conn, error) {
	conn, err := s.Listener.Accept()
	if err == nil {
		err = conn.(*net.TCPConn).SetWriteBuffer(4 << 10)
	}
	return conn, err
}

// answer is a response, read to its end.
type answer struct {
	*http.Response
	body string
}

// send sends text as it is, on a connection of its own.
func (l *line) send(text string) answer {
	l.t.Helper()
	conn, err := net.Dial("tcp", l.addr)
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		l.t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		l.t.Fatalf("%.80q: %v", text, err)
	}
	return l.receive(conn, text)
}

func (l *line) receive(conn net.Conn, text string) answer {
	l.t.Helper()
	method, _, _ := strings.Cut(text, " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		l.t.Fatalf("%.80q: %v", text, err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		l.t.Fatalf("%.80q: %v", text, err)
	}
	return answer{res, string(body)}
}

// call is a plain request. headers are whole lines.
func (l *line) call(method, path, body string, headers ...string) answer {
	l.t.Helper()
	var b bytes.Buffer
	b.WriteString(method + " " + path + " HTTP/1.1\r\nHost: pizza\r\n")
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	if body != "" {
		b.WriteString("Content-Length: " + itoa(len(body)) + "\r\n")
	}
	b.WriteString("\r\n" + body)
	return l.send(b.String())
}

const asJSON = "Content-Type: application/json"

func (l *line) get(path string) answer { l.t.Helper(); return l.call("GET", path, "") }

// place orders pizzas without going through HTTP.
func (l *line) place(count int) string {
	l.t.Helper()
	o, _, err := l.Ledger.PlaceOrder(l.t.Context(), count, "")
	if err != nil {
		l.t.Fatal(err)
	}
	return o.ID
}

// reach commits, in one transaction, that pizzas are past a step.
func (l *line) reach(order, step string, numbers ...int) {
	l.t.Helper()
	var facts []store.Fact
	for _, n := range numbers {
		p := event.New(event.PizzaID{Order: order, Number: n}, 0)
		at := start.Add(time.Duration(n) * time.Second)
		for _, s := range l.steps {
			at = at.Add(10 * time.Millisecond)
			if s != event.StepPizza {
				p = p.With(s, "best "+s)
			}
			if s == step {
				break
			}
		}
		facts = append(facts, store.Fact{Pizza: p.ID, Step: step, At: at, Source: step, Body: p.Body()})
	}
	errs, err := l.Ledger.Advance(l.t.Context(), facts)
	if err = errors.Join(append(errs, err)...); err != nil {
		l.t.Fatal(err)
	}
}

// bake commits all steps of pizzas, one after the other.
func (l *line) bake(order string, numbers ...int) {
	l.t.Helper()
	for _, step := range l.steps {
		l.reach(order, step, numbers...)
	}
}

// bury commits a dead letter of a pizza.
func (l *line) bury(order string, number int, id string) {
	l.t.Helper()
	pizza := event.PizzaID{Order: order, Number: number}
	at := start.Add(time.Duration(number) * time.Minute)
	err := l.Ledger.AddDeadLetter(l.t.Context(), store.DeadLetter{
		ID: id, Pizza: &pizza, Topic: "pizza", Module: "sauce", Error: "out of tomatoes", Kind: store.KindExhausted,
		Attempts: 5, Fingerprint: "f1", FirstFailed: at, LastFailed: at, Key: pizza.String(),
		Headers: map[string]string{"ce_id": "x", "a": "\"b\""}, Body: event.New(pizza, 0).Body(),
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

func upTo(n int) []int {
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i + 1
	}
	return numbers
}
