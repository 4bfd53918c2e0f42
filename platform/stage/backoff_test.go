package stage

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pizzamill/pizzamill/platform/telemetry"
)

// The stock Retry's hooks advance its backoff: 40, 320, 2560 ms where 20, 40,
// 80 was asked.
func TestBackoffDoublesUpToItsMaximum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &chain{
			meter: telemetry.NewMetrics(prometheus.NewRegistry()).Module("sauce", "pizza"),
			log:   slog.New(slog.DiscardHandler),
		}
		c.config.Retry.MaxAttempts = 6
		c.config.Retry.InitialInterval = 20 * time.Millisecond
		c.config.Retry.MaxInterval = 160 * time.Millisecond
		begin := time.Now()
		var at []time.Duration
		_, err := c.retry(func(*message.Message) ([]*message.Message, error) {
			at = append(at, time.Since(begin))
			return nil, errors.New("no")
		})(message.NewMessage("x", nil))
		if got, want := fmt.Sprint(at), "[0s 20ms 60ms 140ms 300ms 460ms]"; got != want {
			t.Errorf("attempts at %s, want %s", got, want)
		}
		var f *failure
		if !errors.As(err, &f) || f.attempts != 6 {
			t.Errorf("got %v", err)
		}
	})
}
