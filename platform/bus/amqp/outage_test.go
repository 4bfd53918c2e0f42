package amqp

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pizzamill/pizzamill/platform/bus"
)

// The broker may come after everything else, and go and come again.
func TestBrokerMayBeAway(t *testing.T) {
	config, p := through(t, settings(t))
	p.leave()
	b := open(t, config)
	b.patience = 200 * time.Millisecond
	b.Declare([]bus.Subscription{{Topic: "pizza", Group: "a"}})
	in, _ := subscribe(t, b)
	if err := b.Connect(t.Context()); err == nil {
		t.Fatal("connected to nobody")
	}
	if err := b.Check(t.Context()); err == nil {
		t.Error("check finds nothing")
	}
	begin := time.Now()
	if err := b.Publisher().Publish("pizza", pizzas(1, 1)...); err == nil {
		t.Error("published to nobody")
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("Publish took %v", took)
	}
	for round := range 3 {
		p.comeBack()
		eventually(t, "connected", func() bool { return b.Connect(t.Context()) == nil })
		b.patience = patience
		publish(t, b, pizzas(10*round+1, 10*round+5)...)
		take(t, in, 5)
		if err := b.Check(t.Context()); err != nil {
			t.Errorf("check: %v", err)
		}
		p.leave()
		eventually(t, "check sees it", func() bool { return b.Check(t.Context()) != nil })
	}
}

// What nobody waits for any more is not kept to be sent later.
func TestGivenUpMessagesAreForgotten(t *testing.T) {
	config, p := through(t, settings(t))
	b := pizzaBus(t, config)
	p.leave()
	b.patience = 20 * time.Millisecond
	for n := range 10 {
		if b.Publisher().Publish("pizza", pizzas(n, n)...) == nil {
			t.Error("published to nobody")
		}
	}
	b.publisher.mu.Lock()
	defer b.publisher.mu.Unlock()
	if n := len(b.publisher.waiting); n != 0 {
		t.Errorf("%d messages wait for nobody", n)
	}
}

// Connections that break lose nothing that was published or in hand.
func TestConnectionsBreak(t *testing.T) {
	config, p := through(t, settings(t))
	b := pizzaBus(t, config)
	in, _ := subscribe(t, b)
	const n = 300
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range n {
			if i%100 == 50 {
				p.cut()
			}
			if err := b.Publisher().Publish("pizza", pizzas(i, i)...); err != nil {
				t.Error(err)
			}
		}
	}()
	take(t, in, n)
	<-done
}

// A broker that hangs keeps neither Publish nor Check nor Close: under a memory
// alarm RabbitMQ stops reading, and a write would block past every context.
func TestBrokerThatHangsKeepsNobody(t *testing.T) {
	config, p := through(t, settings(t))
	b := pizzaBus(t, config)
	in, s := subscribe(t, b)
	publish(t, b, pizzas(1, 1)...)
	take(t, in, 1)
	b.patience = 200 * time.Millisecond
	p.hang()
	for n := range 10 {
		begin := time.Now()
		if err := b.Publisher().Publish("pizza", pizzas(n, n)...); err == nil {
			t.Error("published to a broker that hangs")
		}
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("Publish took %v", took)
		}
	}
	begin := time.Now()
	if b.Check(t.Context()) == nil {
		t.Error("check finds nothing")
	}
	if took := time.Since(begin); took > 850*time.Millisecond {
		t.Errorf("Check took %v", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := b.Groups(ctx); err == nil {
		t.Error("groups of a broker that hangs")
	}
	p.resume()
	b.patience = patience
	publish(t, b, pizzas(11, 15)...)
	take(t, in, 5)

	p.hang()
	begin = time.Now()
	_ = s.Close()
	_ = b.Close()
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("Close took %v", took)
	}
}

// The memory alarm of RabbitMQ, as the client tells of it.
func TestBlockedBrokerIsSaidSo(t *testing.T) {
	b := pizzaBus(t, settings(t))
	b.patience = 300 * time.Millisecond
	line, err := b.publish.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	reason := "low on memory"
	line.blocked.Store(&reason)
	if err := b.Check(t.Context()); err == nil || !strings.Contains(err.Error(), reason) {
		t.Errorf("check: %v", err)
	}
	if err := b.Publisher().Publish("pizza", pizzas(1, 1)...); err == nil || !strings.Contains(err.Error(), reason) {
		t.Errorf("publish: %v", err)
	}
	line.blocked.Store(nil)
	publish(t, b, pizzas(2, 2)...)
	in, _ := subscribe(t, b)
	take(t, in, 1)
}

// A vhost that is deleted and made anew has everything again.
func TestWipedVHostIsFurnishedAgain(t *testing.T) {
	config := settings(t)
	b := open(t, config)
	b.Declare([]bus.Subscription{{Topic: "pizza", Group: "a"}, {Topic: "pizza", Group: "external"}, {Topic: "pizza-with-sauce", Group: "b"}})
	if err := b.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	in, _ := subscribe(t, b)
	api(t, config, http.MethodDelete, "/api/vhosts/%V", "", nil)
	api(t, config, http.MethodPut, "/api/vhosts/%V", "{}", nil)
	api(t, config, http.MethodPut, "/api/permissions/%V/guest", `{"configure":".*","write":".*","read":".*"}`, nil)
	publish(t, b, pizzas(1, 5)...)
	take(t, in, 5)
	groups, err := b.Groups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, g := range groups {
		if want := map[bool]int{true: 1}[i == 0]; !g.Exists || g.Consumers != want {
			t.Errorf("%+v, want %d consumers", g, want)
		}
	}
}

// Groups of a bus that was not connected asks and makes nothing.
func TestGroupsOnlyAsks(t *testing.T) {
	config := settings(t)
	b := open(t, config)
	b.Declare([]bus.Subscription{{Topic: "pizza", Group: "a"}, {Topic: "pizza", Group: "b"}})
	for range 2 {
		groups, err := b.Groups(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range []string{"test-pizza.a", "test-pizza.b"} {
			if g := groups[i]; g.Exists || g.Consumers != 0 || g.Name != name {
				t.Errorf("%+v", g)
			}
		}
	}
	if err := b.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the management API lists both", func() bool {
		names, err := b.Queues(t.Context())
		return err == nil && strings.Join(names, " ") == "test-pizza.a test-pizza.b"
	})
}

func TestIdentityHasPrefixClusterAndVHost(t *testing.T) {
	config := settings(t)
	b := open(t, config)
	id, err := b.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(id, "/")
	if len(parts) != 4 || parts[0] != "amqp" || parts[1] != "test-" || parts[2] == "" || !strings.HasSuffix(config.URL, parts[3]) {
		t.Errorf("got %q", id)
	}
}

// No URL is ever shown, and no password.
func TestSecretsStaySecret(t *testing.T) {
	good := Config{URL: "amqp://u:s3cret@127.0.0.1:1/", QueueType: "quorum", Concurrency: 1}
	for name, change := range map[string]func(*Config){
		"no scheme":       func(c *Config) { c.URL = "u:s3cret@host" },
		"unescaped":       func(c *Config) { c.URL = "amqp://u:s3cret%zz@host/" },
		"management":      func(c *Config) { c.ManagementURL = "http://u:s3cret%zz@host" },
		"management ftp":  func(c *Config) { c.ManagementURL = "ftp://u:s3cret@host" },
		"queue type":      func(c *Config) { c.QueueType = "stream" },
		"concurrency":     func(c *Config) { c.Concurrency = 0 },
		"reserved prefix": func(c *Config) { c.Prefix = "amq." },
		"long prefix":     func(c *Config) { c.Prefix = strings.Repeat("x", 151) },
	} {
		config := good
		change(&config)
		if _, err := New(config, slog.New(slog.DiscardHandler)); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	var log bytes.Buffer
	good.ManagementURL = "http://u:s3cret@127.0.0.1:1"
	b, err := New(good, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	errs := []error{b.Connect(t.Context()), b.Check(t.Context())}
	_, err = b.Lag(t.Context())
	errs = append(errs, err)
	_ = b.Close()
	for _, err := range errs {
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("got %v", err)
		}
	}
	if strings.Contains(log.String(), "s3cret") || !strings.Contains(log.String(), "waiting for RabbitMQ") {
		t.Errorf("log: %s", &log)
	}
	if got := Place("amqps://u:s3cret@host/%2fx"); got != "host:5671//x" {
		t.Errorf("place %q", got)
	}
}

// amqps:// with a certificate that the URL names.
func TestTLS(t *testing.T) {
	certificate, file := selfSigned(t)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		t.Fatal(err)
	}
	config, _ := throughListener(t, settings(t), listener)
	config.URL = strings.Replace(config.URL, "amqp://", "amqps://", 1)
	if b := open(t, config); b.Connect(t.Context()) == nil {
		t.Error("an unknown certificate is accepted")
	}
	config.URL += "?cacertfile=" + file
	b := pizzaBus(t, config)
	publish(t, b, pizzas(1, 100)...)
	in, _ := subscribe(t, b)
	take(t, in, 100)
}

func selfSigned(t *testing.T) (_ tls.Certificate, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}
