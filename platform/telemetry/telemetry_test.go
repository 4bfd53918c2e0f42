package telemetry

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/store"
)

func TestLoggerFormats(t *testing.T) {
	for _, tc := range []struct {
		format   string
		terminal bool
		wantJSON bool
	}{{"auto", true, false}, {"auto", false, true}, {"text", false, false}, {"json", true, true}} {
		var buf bytes.Buffer
		log, err := NewLogger(&buf, "info", tc.format, tc.terminal)
		if err != nil {
			t.Fatal(err)
		}
		log.Debug("hidden")
		log.Info("shown", slog.Group("g", "time", time.Unix(0, 0)))
		if got := strings.HasPrefix(buf.String(), "{"); got != tc.wantJSON || strings.Contains(buf.String(), "hidden") {
			t.Errorf("%+v: %s", tc, buf.String())
		}
	}
	if _, err := NewLogger(nil, "loud", "auto", false); err == nil {
		t.Error("unknown level taken")
	}
	if _, err := NewLogger(nil, "info", "xml", false); err == nil {
		t.Error("unknown format taken")
	}
}

func TestLogTimesAreUTCMilliseconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var buf bytes.Buffer
		log, err := NewLogger(&buf, "info", "json", false)
		if err != nil {
			t.Fatal(err)
		}
		log.Info("x")
		if want := `"time":"2000-01-01T00:00:00.000Z"`; !strings.Contains(buf.String(), want) {
			t.Errorf("%s: no %s", buf.String(), want)
		}
	})
}

func watermillLog(level slog.Level) (watermill.LoggerAdapter, *bytes.Buffer) {
	var buf bytes.Buffer
	return WatermillLogger(slog.New(slog.NewTextHandler(&buf, &slog.HandlerOptions{Level: level}))), &buf
}

// The Router logs messages that it could not publish, payload and all.
func TestWatermillNeverLogsPayloads(t *testing.T) {
	log, buf := watermillLog(watermill.LevelTrace)
	msg := message.NewMessage("an-id", []byte("SECRET-TOPPING"))
	msg.Metadata.Set("k", "SECRET-TOPPING")
	fields := watermill.LogFields{
		"not_sent_message": "message.Messages{SECRET-TOPPING}",
		"message":          msg,
		"messages":         message.Messages{msg},
		"payload":          msg.Payload,
		"bytes":            []byte("SECRET-TOPPING"),
		"metadata":         msg.Metadata,
		"buffer":           bytes.NewBufferString("SECRET-TOPPING"),
		"message_uuid":     "an-id",
		"count":            3,
		"timeout":          time.Second,
		"cause":            errors.New("broken"),
	}
	log.Error("Cannot publish messages", errors.New("no broker"), fields)
	log.With(fields).Trace("with", nil)
	if strings.Contains(buf.String(), "SECRET") {
		t.Errorf("payload in the log: %s", buf)
	}
	for _, want := range []string{
		"message_uuid=an-id", "count=3", "timeout=1s", "cause=broken", `error="no broker"`, "level=ERROR",
	} {
		if !strings.Contains(buf.String(), want) {
			t.Errorf("no %s in %s", want, buf)
		}
	}
}

// The same through the Router itself, with a publisher that refuses.
func TestRouterWithAFailingPublisherLogsNoPayload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, buf := watermillLog(watermill.LevelTrace)
		router, err := message.NewRouter(message.RouterConfig{}, log)
		if err != nil {
			t.Fatal(err)
		}
		sub := oneMessage{message.NewMessage("in", []byte("SECRET-IN"))}
		router.AddHandler("h", "in", sub, "out", failing{}, func(*message.Message) ([]*message.Message, error) {
			return message.Messages{message.NewMessage("out", []byte("SECRET-OUT"))}, nil
		})
		go func() {
			<-sub.msg.Nacked()
			_ = router.Close()
		}()
		if err := router.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the Router logs on behind Run
		if s := buf.String(); strings.Contains(s, "SECRET") || !strings.Contains(s, "Cannot publish messages") {
			t.Errorf("log: %s", s)
		}
	})
}

type oneMessage struct{ msg *message.Message }

func (o oneMessage) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	c := make(chan *message.Message, 1)
	c <- o.msg
	go func() {
		<-ctx.Done()
		close(c)
	}()
	return c, nil
}
func (oneMessage) Close() error { return nil }

type failing struct{}

func (failing) Publish(string, ...*message.Message) error { return errors.New("no room") }
func (failing) Close() error                              { return nil }

func TestWatermillLogIsFreeWhileOff(t *testing.T) {
	log, buf := watermillLog(slog.LevelInfo)
	fields := watermill.LogFields{"message_uuid": "x"}
	n := testing.AllocsPerRun(100, func() {
		log.Trace("Received message", fields)
		log.Debug("Waiting", fields)
		log.Info("Adding handler", fields)
	})
	if n != 0 || buf.Len() != 0 {
		t.Errorf("%v allocations, %q written", n, buf)
	}
}

type ledger struct {
	totals store.Totals
	err    error
}

func (l ledger) Totals(context.Context) (store.Totals, error) { return l.totals, l.err }

type lags struct{ err error }

func (l lags) Lag(context.Context) ([]bus.Lag, error) {
	return []bus.Lag{{Subscription: bus.Subscription{Topic: "pizza", Group: "sauce"}, Messages: 7}}, l.err
}

// scrape returns the lines of /metrics about pizzamill, comments left out.
func scrape(t *testing.T, reg *prometheus.Registry) string {
	t.Helper()
	rec := httptest.NewRecorder()
	Handler(reg, slog.New(slog.DiscardHandler)).ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	if rec.Code != 200 {
		t.Fatalf("scrape: %d %s", rec.Code, rec.Body)
	}
	var lines []string
	for line := range strings.Lines(rec.Body.String()) {
		if strings.HasPrefix(line, "pizzamill_") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := NewRegistry()
		log := slog.New(slog.DiscardHandler)
		reg.MustRegister(LedgerCollector(ledger{totals: store.Totals{
			Ordered: 20, Completed: 11, DeadLettered: 2, Undispatched: 4, OldestInFlight: time.Now().Add(-90 * time.Second),
		}}, log), LagCollector(lags{}, log))
		m := NewMetrics(reg)
		sauce := m.Module("sauce", "pizza")
		sauce.OK.Add(5)
		sauce.Duplicate.Inc()
		sauce.Retries.Inc()
		sauce.Seconds.Observe(0.001)
		m.StoreCommit.Observe(0.002)

		got := scrape(t, reg)
		for _, want := range []string{
			`pizzamill_pizzas{state="ordered"} 20`,
			`pizzamill_pizzas{state="completed"} 11`,
			`pizzamill_pizzas{state="in_flight"} 7`,
			`pizzamill_pizzas{state="dead_lettered"} 2`,
			`pizzamill_undispatched_pizzas 4`,
			`pizzamill_oldest_in_flight_seconds 90`,
			`pizzamill_group_lag{module="sauce",topic="pizza"} 7`,
			`pizzamill_handled_total{module="sauce",outcome="ok",topic="pizza"} 5`,
			`pizzamill_handled_total{module="sauce",outcome="nacked",topic="pizza"} 0`,
			`pizzamill_retries_total{module="sauce"} 1`,
			`pizzamill_handle_seconds_count{module="sauce"} 1`,
			`pizzamill_store_commit_seconds_count 1`,
			`pizzamill_build_info{`,
		} {
			if !strings.Contains(got, want) {
				t.Errorf("no %s in\n%s", want, got)
			}
		}
	})
}

func TestScrapeSurvivesStoreAndBus(t *testing.T) {
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, nil))
	reg := NewRegistry()
	reg.MustRegister(LedgerCollector(ledger{err: errors.New("disk gone")}, log), LagCollector(lags{err: errors.New("bus gone")}, log))
	got := scrape(t, reg)
	if strings.Contains(got, "pizzamill_pizzas") || strings.Contains(got, "pizzamill_group_lag") {
		t.Errorf("gauges without a source:\n%s", got)
	}
	if !strings.Contains(got, "pizzamill_build_info") {
		t.Errorf("the rest is gone too:\n%s", got)
	}
	for _, want := range []string{"disk gone", "bus gone"} {
		if !strings.Contains(logged.String(), want) {
			t.Errorf("no %q in the log: %s", want, &logged)
		}
	}
}

func BenchmarkHandled(b *testing.B) {
	m := NewMetrics(NewRegistry()).Module("sauce", "pizza")
	for b.Loop() {
		m.OK.Inc()
		m.Seconds.Observe(0.0012)
	}
}
