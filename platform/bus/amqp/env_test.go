package amqp

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/pizzamill/pizzamill/internal/testservice"
	"github.com/pizzamill/pizzamill/platform/bus"
)

const (
	// patience is how long a test waits for what must come.
	patience = 20 * time.Second
	// settleInTests is settleTime for readers that never acknowledge.
	settleInTests = 300 * time.Millisecond
)

// settings returns those of a vhost that only this test uses.
func settings(t testing.TB) Config {
	return Config{
		URL:           testservice.VHost(t),
		ManagementURL: testservice.Management(t),
		QueueType:     "quorum",
		Concurrency:   64,
		Prefix:        "test-",
	}
}

// open returns a bus that the test closes, or its end.
func open(t testing.TB, config Config) *Bus {
	t.Helper()
	b, err := New(config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	b.settle = settleInTests
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// pizzaBus is a connected bus with group a on topic pizza.
func pizzaBus(t testing.TB, config Config) *Bus {
	t.Helper()
	b := open(t, config)
	b.Declare([]bus.Subscription{{Topic: "pizza", Group: "a"}})
	if err := b.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func subscribe(t testing.TB, b *Bus) (<-chan *message.Message, message.Subscriber) {
	t.Helper()
	s := b.Subscriber("a")
	in, err := s.Subscribe(context.Background(), "pizza")
	if err != nil {
		t.Fatal(err)
	}
	return in, s
}

func pizzas(from, to int) []*message.Message {
	var all []*message.Message
	for n := from; n <= to; n++ {
		all = append(all, message.NewMessage(fmt.Sprintf("o-%d/pizza", n), []byte("{}")))
	}
	return all
}

func publish(t testing.TB, b *Bus, messages ...*message.Message) {
	t.Helper()
	if err := b.Publisher().Publish("pizza", messages...); err != nil {
		t.Fatal(err)
	}
}

// next returns the next message, which must come.
func next(t testing.TB, in <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-in:
		if !ok {
			t.Fatal("the subscription ended")
		}
		return m
	case <-time.After(patience):
		t.Fatal("no message came")
	}
	return nil
}

// take acknowledges messages until n different ones have come.
func take(t testing.TB, in <-chan *message.Message, n int) {
	t.Helper()
	for got := map[string]bool{}; len(got) < n; {
		m := next(t, in)
		got[m.UUID] = true
		m.Ack()
	}
}

// eventually waits for the broker.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); !is(); <-tick.C {
		if time.Since(begin) > patience {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// raw returns a channel of a plain client.
func raw(t testing.TB, config Config) *amqp091.Channel {
	t.Helper()
	conn, err := amqp091.Dial(config.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// ready returns how many messages of group a nobody has in hand.
func ready(t testing.TB, ch *amqp091.Channel) int {
	t.Helper()
	q, err := ch.QueueDeclarePassive("test-pizza.a", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	return q.Messages
}

// api calls the management API; %V in the path is the vhost.
func api(t testing.TB, config Config, method, path, body string, answer any) {
	t.Helper()
	uri, _ := amqp091.ParseURI(config.URL)
	path = strings.ReplaceAll(path, "%V", url.PathEscape(uri.Vhost))
	req, err := http.NewRequest(method, strings.TrimSuffix(config.ManagementURL, "/")+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest && resp.StatusCode != http.StatusNotFound {
		t.Fatalf("%s %s: %s", method, path, resp.Status)
	}
	if answer != nil {
		if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
			t.Fatal(err)
		}
	}
}

// closeConnections has the broker close all connections to the vhost, and
// returns how many there were.
func closeConnections(t testing.TB, config Config) int {
	t.Helper()
	var connections []struct{ Name string }
	api(t, config, http.MethodGet, "/api/vhosts/%V/connections", "", &connections)
	for _, c := range connections {
		api(t, config, http.MethodDelete, "/api/connections/"+url.PathEscape(c.Name), "", nil)
	}
	return len(connections)
}

// proxy stands between a bus and the broker, and can behave like a network.
type proxy struct {
	listener net.Listener
	broker   string
	running  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	away  bool
	stuck chan struct{} // closed while bytes pass
}

// through returns config with a proxy between.
func through(t testing.TB, config Config) (Config, *proxy) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return throughListener(t, config, listener)
}

func throughListener(t testing.TB, config Config, listener net.Listener) (Config, *proxy) {
	t.Helper()
	u, err := url.Parse(config.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, broker: u.Host, conns: map[net.Conn]bool{}, stuck: make(chan struct{})}
	close(p.stuck)
	u.Host = listener.Addr().String()
	config.URL = u.String()
	p.running.Go(p.serve)
	t.Cleanup(func() {
		_ = listener.Close()
		p.resume()
		p.cut()
		p.running.Wait()
	})
	return config, p
}

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.broker)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		away := p.away
		if !away {
			p.conns[client], p.conns[server] = true, true
		}
		p.mu.Unlock()
		if away {
			_ = client.Close()
			_ = server.Close()
			continue
		}
		p.running.Go(func() { p.copy(server, client) })
		p.running.Go(func() { p.copy(client, server) })
	}
}

func (p *proxy) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		p.mu.Lock()
		stuck := p.stuck
		p.mu.Unlock()
		<-stuck
		n, err := from.Read(buf)
		if n > 0 {
			p.mu.Lock()
			stuck = p.stuck
			p.mu.Unlock()
			<-stuck
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// cut breaks all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
		delete(p.conns, c)
	}
}

// leave breaks all connections and takes no new ones, until comeBack.
func (p *proxy) leave() {
	p.mu.Lock()
	p.away = true
	p.mu.Unlock()
	p.cut()
}

func (p *proxy) comeBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = false
}

// hang lets no byte pass, in silence, until resume.
func (p *proxy) hang() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stuck = make(chan struct{})
}

func (p *proxy) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.stuck:
	default:
		close(p.stuck)
	}
}
