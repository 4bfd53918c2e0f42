package kafka

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
)

// The defaults of the libraries lose what was published before a group's first
// join, what a leader had not replicated, and the order of a retried batch.
func TestDefaultsThatLoseMessagesAreNotUsed(t *testing.T) {
	s, err := newSettings(Config{Brokers: []string{"localhost:9"}})
	if err != nil {
		t.Fatal(err)
	}
	l := newLinks(s)
	consumer, together, alone := s.consumer(l), s.producer(l, maxBatch, false), s.producer(l, 0, true)
	for name, c := range map[string]*sarama.Config{"base": s.base(l), "consumer": consumer, "together": together, "alone": alone} {
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if c.Metadata.AllowAutoTopicCreation {
			t.Errorf("%s creates topics by asking for them", name)
		}
	}
	if consumer.Consumer.Offsets.Initial != sarama.OffsetOldest || !consumer.Consumer.Group.ResetInvalidOffsets {
		t.Error("a group without a valid offset does not begin at the oldest record")
	}
	if consumer.Net.ReadTimeout <= consumer.Consumer.Group.Rebalance.Timeout {
		t.Error("a member gives up a rebalance that may still end well")
	}
	for _, c := range []*sarama.Config{together, alone} {
		if c.Producer.RequiredAcks != sarama.WaitForAll || !c.Producer.Idempotent || c.Net.MaxOpenRequests != 1 {
			t.Error("the producer may lose, repeat or reorder")
		}
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := []string{"localhost:9"}
	for want, c := range map[string]Config{
		"no brokers":             {},
		"CA file":                {Brokers: at, TLS: true, CAFile: filepath.Join(t.TempDir(), "none.pem")},
		"no certificate":         {Brokers: at, TLS: true, CAFile: empty},
		"unknown SASL mechanism": {Brokers: at, SASLMechanism: "SCRAM-SHA-1", SASLUsername: "u", SASLPassword: "p"},
	} {
		if _, err := New(c, logOf(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	for _, mechanism := range []string{"", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		b, err := New(Config{Brokers: at, TLS: true, SASLMechanism: mechanism, SASLUsername: "u", SASLPassword: "p"}, logOf(t))
		if err != nil {
			t.Errorf("%s: %v", mechanism, err)
			continue
		}
		if err := b.Close(); err != nil {
			t.Errorf("%s: close: %v", mechanism, err)
		}
	}
}

// A server whose certificate the CA file vouches for is trusted, another is not.
func TestCAFile(t *testing.T) {
	cert, pemBytes := certificate(t)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pemBytes, 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).HandshakeContext(t.Context())
			_ = conn.Close()
		}
	}()
	for name, c := range map[string]Config{"the CA file's": {CAFile: file}, "the system's": {}} {
		c.Brokers, c.TLS = []string{listener.Addr().String()}, true
		s, err := newSettings(c)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := tls.Dial("tcp", listener.Addr().String(), s.tls)
		if trusted := err == nil; trusted != (c.CAFile != "") {
			t.Errorf("with %s roots: %v", name, err)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
	_ = listener.Close()
	<-served
}

// certificate returns one of a server on 127.0.0.1 that vouches for itself.
func certificate(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}, &x509.Certificate{SerialNumber: big.NewInt(1)}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// The client's side of a SCRAM conversation satisfies a server, and only with
// the right password.
func TestSCRAM(t *testing.T) {
	for mechanism, hash := range map[sarama.SASLMechanism]scram.HashGeneratorFcn{
		sarama.SASLTypeSCRAMSHA256: scram.SHA256, sarama.SASLTypeSCRAMSHA512: scram.SHA512,
	} {
		known, err := hash.NewClient("mill", "secret", "")
		if err != nil {
			t.Fatal(err)
		}
		server, err := hash.NewServer(func(string) (scram.StoredCredentials, error) {
			return known.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt", Iters: 4096})
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, password := range []string{"secret", "wrong"} {
			client, conversation := &scramClient{mechanism: mechanism}, server.NewConversation()
			if err := client.Begin("mill", password, ""); err != nil {
				t.Fatal(err)
			}
			answer := ""
			for !client.Done() && !conversation.Done() {
				said, err := client.Step(answer)
				if err != nil {
					t.Fatalf("%s: client: %v", mechanism, err)
				}
				if answer, err = conversation.Step(said); err != nil {
					break
				}
			}
			if conversation.Valid() != (password == "secret") {
				t.Errorf("%s with password %s: valid %t", mechanism, password, conversation.Valid())
			}
		}
	}
}
