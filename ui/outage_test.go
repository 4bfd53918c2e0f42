package ui

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pizzamill/pizzamill/platform/config"
	"github.com/pizzamill/pizzamill/platform/module"
)

// today is a moment of the day that pages say without its date.
func today(clock string) time.Time {
	t, err := time.Parse("15:04:05", clock)
	if err != nil {
		panic(err)
	}
	now := time.Now().UTC()
	return time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}

// TestPagesSayThatTheLineIsPaused, on both listeners and without script.
func TestPagesSayThatTheLineIsPaused(t *testing.T) {
	k := newKitchen(t)
	id := k.place(12)
	done := k.place(1)
	k.finish(done, 1)
	pages := map[string]http.Handler{"main /": k.Main}
	for _, path := range []string{"/orders", "/orders/" + id, "/orders/" + done, "/pizzas/" + id + "-1", "/pizzas/" + done + "-1"} {
		pages["main "+path], pages["admin "+path] = k.Main, k.Admin
	}
	look := func(says string, want bool) {
		t.Helper()
		for name, h := range pages {
			_, path, _ := strings.Cut(name, " ")
			if a := get(h, path); a.StatusCode != 200 || strings.Contains(a.Text, says) != want {
				t.Errorf("%s answers %d; it says %q: %v, want %v", name, a.StatusCode, says, !want, want)
			}
		}
	}
	look("The line", false)
	k.outage.Store(&module.Outage{Since: today("00:00:00")})
	look("<b>The line is paused: Kafka cannot be reached since 00:00:00.</b>", true)
	look(`<span aria-live="off">12 pizzas are safe and wait.</span> You can go on ordering.`, true)
	look("data-later", false)
	look("data-live", true) // that it runs again is told live, to the page of a finished order too
	k.outage.Store(&module.Outage{Since: today("00:00:00"), Refuses: true})
	look("The line is paused: Kafka takes no messages since 00:00:00.", true)
	k.outage.Store(nil)
	look("The line", false)
}

// TestNoPromiseWithoutTheStore: a page that cannot take orders does not say that
// one can go on ordering.
func TestNoPromiseWithoutTheStore(t *testing.T) {
	k := newKitchen(t)
	k.outage.Store(&module.Outage{Since: time.Now()})
	if err := k.ledger.Close(); err != nil {
		t.Fatal(err)
	}
	if a := postForm(k.Main, "count", "7"); a.StatusCode != 503 || strings.Contains(a.Text, "go on ordering") {
		t.Errorf("status %d, and the page says that one can go on ordering", a.StatusCode)
	}
	k.away.Store(true)
	if a := get(k.Main, "/"); a.StatusCode != 503 || strings.Contains(a.Text, "go on ordering") {
		t.Errorf("status %d, and the page says that one can go on ordering", a.StatusCode)
	}
}

// TestStreamsTellThatTheLineIsPaused, and once that it runs again. The stream of
// a finished order ends no sooner.
func TestStreamsTellThatTheLineIsPaused(t *testing.T) {
	k := newKitchen(t)
	base := k.serve()
	id := k.place(1)
	done := k.place(1)
	k.finish(done, 1)
	paths := []string{"/live", "/orders/live", "/orders/" + id + "/live", "/pizzas/" + id + "-1/live"}
	var open []*listener
	for _, path := range paths {
		open = append(open, listen(t, base, path))
	}
	k.outage.Store(&module.Outage{Since: time.Now()})
	late := listen(t, base, "/orders/"+done+"/live")
	for _, l := range append(open, late) {
		l.until("The line is paused: Kafka cannot be reached since ")
	}
	k.outage.Store(nil)
	for _, l := range append(open, late) {
		l.until("The line runs again.</b> 1 waiting pizza is being cooked.")
	}
	if f, ok := late.next(); !ok || f.Event != "end" {
		t.Errorf("the stream of a finished order says %+v, want end", f)
	}
	k.finish(id, 1)
	for i, l := range open {
		for {
			f, ok := l.next()
			if strings.Contains(f.Data, "runs again") {
				t.Errorf("%s says twice that the line runs again", paths[i])
			}
			if !ok || f.Event == "end" || strings.Contains(f.Data, "Tomato, burrata") || strings.Contains(f.Data, "complete in") {
				break
			}
		}
	}
}

// TestPausedLineAsksNobody: a quiet page looks every second whether the line has
// stopped, and reads the ledger no more often for it.
func TestPausedLineAsksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Millisecond)
		defer cancel()
		looks, asked := 0, 0
		p := &pump{
			pause: homePause,
			news:  func(context.Context) bool { looks++; return looks == 20 },
			next:  func(context.Context) (message, error) { asked++; return message{}, nil },
			send:  func(message) error { return nil },
		}
		if err := p.run(ctx, message{}); err != nil {
			t.Error(err)
		}
		if looks < 50 || asked != 4 && asked != 5 {
			t.Errorf("%d looks and %d questions in a minute, want about 55 and 5", looks, asked)
		}
	})
}

// TestStreamOutlivesTheStore: while the store is away pages say so, also one on
// which nothing moves, and then go on without a gap.
func TestStreamOutlivesTheStore(t *testing.T) {
	k := newKitchen(t)
	base := k.serve()
	id := k.place(2)
	l, home := listen(t, base, "/orders/"+id+"/live"), listen(t, base, "/live")
	l.until("0 of 2 complete")
	home.until("2</b> ordered")
	begin := time.Now()
	k.away.Store(true)
	l.until("The line is paused: the store cannot be read since ")
	home.until("The line is paused: the store cannot be read since ")
	k.away.Store(false)
	l.until("The line runs again.")
	home.until("The line runs again.")
	if took := time.Since(begin); took >= heartbeat {
		t.Errorf("pages noticed within %v", took)
	}
	k.finish(id, 1)
	if f := l.until("#1: ordered"); f.ID == "" {
		t.Error("events come without their number")
	}
	get(k.Main, "/orders/"+id).want(t, 200, "1 of 2 complete")
}

// TestStoreIsAskedOnceForAllTabs, and a browser that goes makes no outage.
func TestStoreIsAskedOnceForAllTabs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		var fails error
		r := &storeWatch{now: time.Now, ask: func(ctx context.Context) error { asked++; return errors.Join(fails, ctx.Err()) }}
		tabs := func(ctx context.Context) (since time.Time) {
			for range 100 {
				since = r.since(ctx)
			}
			return since
		}
		for range 10 {
			if since := tabs(t.Context()); !since.IsZero() {
				t.Errorf("away since %v", since)
			}
			<-time.After(storeEvery)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if since := tabs(gone); !since.IsZero() || asked != 11 {
			t.Errorf("asked %d times, away since %v", asked, since)
		}
		<-time.After(storeEvery)
		begin := time.Now()
		fails = errors.New("away")
		for range 10 {
			if since := tabs(t.Context()); !since.Equal(begin) {
				t.Errorf("away since %v, want %v", since, begin)
			}
			<-time.After(storeEvery)
		}
		fails = nil
		if since := tabs(t.Context()); !since.IsZero() {
			t.Errorf("still away since %v", since)
		}
	})
}

// TestEventsAreNotLostWithTheStore: what was read before the store went is read again.
func TestEventsAreNotLostWithTheStore(t *testing.T) {
	k := newKitchen(t)
	id := k.place(1)
	k.advance(id, 1, "pizza")
	st := &orderStream{site: k.main, id: id, on: shown{Page: 1}, delta: newDelta()}
	k.grace.Store(1)
	k.away.Store(true)
	if _, err := st.nextSmall(t.Context()); err == nil {
		t.Fatal("the store is not away")
	}
	k.away.Store(false)
	if m, err := st.nextSmall(t.Context()); err != nil || m.ID != 1 || !strings.Contains(string(m.HTML), "#1: ordered") {
		t.Errorf("then the stream is at %d (%v):\n%s", m.ID, err, m.HTML)
	}
}

func TestFooterTellsWhatRuns(t *testing.T) {
	for want, change := range map[string]func(c *config.Config){
		"one process, gochannel and SQLite":             func(*config.Config) {},
		"one process, gochannel and PostgreSQL":         func(c *config.Config) { c.Store.Driver = "postgres" },
		"all modules in this process, Kafka and SQLite": func(c *config.Config) { c.Bus.Driver = "kafka" },
		"ui in this process, RabbitMQ and PostgreSQL": func(c *config.Config) {
			c.Bus.Driver, c.Store.Driver, c.App.Modules = "amqp", "postgres", []string{"ui"}
		},
		"pizza, journal and ui in this process, Kafka and SQLite": func(c *config.Config) {
			c.Bus.Driver, c.App.Modules = "kafka", []string{"pizza", "journal", "ui"}
		},
		"all modules but cheese and meat in this process, Kafka and SQLite": func(c *config.Config) {
			c.Bus.Driver, c.Pipeline.External = "kafka", []string{"cheese", "meat"}
		},
	} {
		c := config.Default()
		change(&c)
		if got := describeProcess(c); got != want {
			t.Errorf("the footer says %q, want %q", got, want)
		}
	}
	k := newKitchen(t)
	k.main.runs = "ui in this process, Kafka and PostgreSQL"
	get(k.Main, "/orders").want(t, 200, ", ui in this process, Kafka and PostgreSQL</p>")
}
