package kafka

import (
	"crypto/rand"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pizzamill/pizzamill/internal/testservice"
	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/bus/bustest"
)

func TestMain(m *testing.M) {
	if os.Getenv("STRESS_TEST_COUNT") == "" {
		_ = os.Setenv("STRESS_TEST_COUNT", "1") // ten rounds, the default, take many minutes
	}
	// Watermill's suite leaves goroutines behind that pass on what nobody reads.
	const multiplier = "github.com/ThreeDotsLabs/watermill/internal/subscriber.(*multiplier).Subscribe"
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(multiplier+".func2"), goleak.IgnoreAnyFunction(multiplier+".func3"))
}

func TestBus(t *testing.T) {
	testservice.Kafka(t)
	bustest.Run(t, bustest.Driver{
		New: func(t *testing.T, prefix string) bus.Bus {
			return open(t, Config{Prefix: prefix})
		},
		Durable: true,
	})
}

// open returns a bus on the real broker that the test closes.
func open(t testing.TB, c Config) *Bus {
	t.Helper()
	if c.Brokers == nil {
		c.Brokers = []string{testservice.Kafka(t)}
	}
	c.Partitions = max(c.Partitions, 1)
	c.ReplicationFactor = 1
	b, err := New(c, logOf(t))
	if err != nil {
		t.Fatal(err)
	}
	b.closeGrace = time.Second
	return b
}

// fresh returns a prefix that nobody else uses.
func fresh() string { return "test-" + strings.ToLower(rand.Text()[:12]) + "-" }

// logOf writes to the test's log if it is verbose.
func logOf(t testing.TB) *slog.Logger {
	if !testing.Verbose() {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}
