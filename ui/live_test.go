package ui

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/httpserver"
	"github.com/pizzamill/pizzamill/platform/store"
)

// frame is a server-sent event.
type frame struct{ ID, Event, Data string }

// listener reads a page's stream.
type listener struct {
	t      *testing.T
	res    *http.Response
	lines  *bufio.Scanner
	cancel context.CancelFunc
}

func listen(t *testing.T, base, path string) *listener {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if kind := res.Header.Get("Content-Type"); res.StatusCode != 200 || kind != "text/event-stream" {
		t.Fatalf("%s answers %d %s", path, res.StatusCode, kind)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	l := &listener{t: t, res: res, lines: lines, cancel: cancel}
	t.Cleanup(l.close)
	return l
}

func (l *listener) close() {
	l.cancel()
	_ = l.res.Body.Close()
}

// serve listens until the test and its streams are over.
func (k *kitchenSink) serve() string {
	srv := httptest.NewServer(k.Main)
	k.t.Cleanup(srv.Close)
	return srv.URL
}

// next returns the next event; false if the server has closed the stream.
func (l *listener) next() (frame, bool) {
	var f frame
	var data []string
	for l.lines.Scan() {
		name, value, _ := strings.Cut(l.lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case l.lines.Text() == "" && f.Event != "":
			f.Data = strings.Join(data, "\n")
			return f, true
		case name == "id":
			f.ID = value
		case name == "event":
			f.Event = value
		case name == "data":
			data = append(data, value)
		}
	}
	return frame{}, false
}

// until reads events up to the first that says something.
func (l *listener) until(text string) frame {
	l.t.Helper()
	for {
		f, ok := l.next()
		if !ok {
			l.t.Fatalf("the stream ended before it said %q", text)
		}
		if strings.Contains(f.Data, text) {
			return f
		}
	}
}

var tapeEntry = regexp.MustCompile(`<b[^>]*>([a-z-]+)</b> ?<span class="soft">([^<]*)</span>`)

// tapeOf returns the new lines of the tape in an event, oldest first.
func tapeOf(f frame) (lines []string) {
	_, tape, _ := strings.Cut(f.Data, `data-prepend="tape-lines"`)
	for _, m := range tapeEntry.FindAllStringSubmatch(tape, -1) {
		lines = append(lines, m[1]+" "+m[2])
	}
	slices.Reverse(lines)
	return lines
}

// TestStreamGoesOnWithoutGapOrRepeat breaks the stream of an order again and
// again, and reads every event once.
func TestStreamGoesOnWithoutGapOrRepeat(t *testing.T) {
	k := newKitchen(t)
	base := k.serve()
	id := k.place(2)
	k.advance(id, 1, "pizza")

	var got []string
	last := "0"
	// collect reads one connection until it has seen as many lines in all.
	collect := func(lines int) {
		l := listen(t, base, "/orders/"+id+"/live?last_event_id="+last)
		defer l.close()
		for len(got) < lines {
			f, ok := l.next()
			if !ok {
				t.Fatalf("the stream ended after %q", got)
			}
			got = append(got, tapeOf(f)...)
			if f.ID != "" {
				last = f.ID
			}
		}
	}
	collect(1)
	k.advance(id, 1, "sauce=pesto")
	k.advance(id, 2, "pizza", "sauce=tomato")
	collect(4)
	k.advance(id, 1, "cheese=burrata")
	k.advance(id, 1, "meat=ham")
	k.advance(id, 1, "veggies=basil")
	collect(8)
	want := []string{
		"pizza #1: ordered", "pizza-with-sauce #1: pesto", "pizza #2: ordered", "pizza-with-sauce #2: tomato",
		"pizza-with-cheese #1: burrata", "pizza-with-meat #1: ham", "pizza-with-veggies #1: basil",
	}
	if diff := cmp.Diff(want, got[:7]); diff != "" {
		t.Error(diff)
	}
	if !strings.HasPrefix(got[7], "complete #1: in ") || last != "8" {
		t.Errorf("the last line is %q with event %s", got[7], last)
	}
}

func TestStreamEndsWithTheOrder(t *testing.T) {
	k := newKitchen(t)
	base := k.serve()
	id := k.place(2)
	l := listen(t, base, "/orders/"+id+"/live")
	l.until("0 of 2 complete")
	k.finish(id, 1)
	f := l.until("1 of 2 complete")
	if strings.Contains(f.Data, `id="pizza-2"`) {
		t.Error("a card was sent that nothing happened to")
	}
	k.finish(id, 2)
	f = l.until("2 of 2 complete")
	for _, want := range []string{`id="pizza-2"`, `id="event-count"`, "2 of 2 pizzas complete"} {
		if !strings.Contains(f.Data, want) {
			t.Errorf("the last patch has no %q", want)
		}
	}
	if f, ok := l.next(); !ok || f.Event != "end" {
		t.Errorf("the stream says %+v, want end", f)
	}
	if f, ok := l.next(); ok {
		t.Errorf("the stream goes on after its end: %+v", f)
	}
	// Whoever comes late is told at once.
	l = listen(t, base, "/orders/"+id+"/live?last_event_id=12")
	l.until("2 of 2 complete")
	if f, ok := l.next(); !ok || f.Event != "end" {
		t.Errorf("a late stream says %+v, want end", f)
	}
}

func TestPartialOrderStaysLive(t *testing.T) {
	k := newKitchen(t)
	base := k.serve()
	id := k.place(1)
	l := listen(t, base, "/orders/"+id+"/live")
	k.bury(id, 1, "sauce", "pizza")
	l.until("1 dead-lettered")
	k.finish(id, 1)
	l.until("1 of 1 complete")
}

// TestInferredStepsGetTheirTimes: the last event of a pizza may be written
// before the ones in between, whose times follow behind its completion.
func TestInferredStepsGetTheirTimes(t *testing.T) {
	k := newKitchen(t)
	base := k.serve()
	id := k.place(1)
	l := listen(t, base, "/orders/"+id+"/live")
	all := event.New(event.PizzaID{Order: id, Number: 1}, 0).With("sauce", "tomato").With("cheese", "burrata").With("meat", "ham").With("veggies", "basil")
	fact := func(step string, at time.Time, without ...string) store.Fact {
		return store.Fact{Pizza: all.ID, Step: step, At: at, Source: step, Body: all.Without(without...).Body()}
	}
	write := func(f ...store.Fact) {
		t.Helper()
		if errs, err := k.ledger.Advance(t.Context(), f); err != nil || errs != nil {
			t.Fatal(err, errs)
		}
	}
	now := time.Now()
	write(fact("veggies", now))
	l.until("1 of 1 complete")
	get(k.Main, "/orders/"+id).want(t, 200, "data-live")
	early := now.Add(-time.Minute)
	write(fact("pizza", early, "sauce", "cheese", "meat", "veggies"), fact("sauce", early, "cheese", "meat", "veggies"), fact("cheese", early, "meat", "veggies"), fact("meat", early, "veggies"))
	l.until(`<span>meat</span> <time datetime="` + stamp(early) + `">`)
	if f, ok := l.next(); !ok || f.Event != "end" {
		t.Errorf("the stream says %+v, want end", f)
	}
}

func TestSettled(t *testing.T) {
	s := &site{now: func() time.Time { return noon }}
	for _, c := range []struct {
		completed time.Time
		inferred  bool
		want      bool
	}{
		{time.Time{}, false, false}, {noon, false, true}, {noon, true, false}, {noon.Add(-settleTime), true, true},
	} {
		if got := s.settled(c.completed, c.inferred); got != c.want {
			t.Errorf("settled(%v, %v) = %v", c.completed, c.inferred, got)
		}
	}
}

// TestCardsOfAnotherPageAreNotSent, but their events are.
func TestCardsOfAnotherPageAreNotSent(t *testing.T) {
	k := newKitchen(t)
	base := k.serve()
	id := k.place(100)
	l := listen(t, base, "/orders/"+id+"/live?page=2")
	k.finish(id, 1)
	if f := l.until("#1: ordered"); strings.Contains(f.Data, `id="pizza-1"`) {
		t.Error("page 2 got a card of page 1")
	}
	k.finish(id, 49)
	if f := l.until("#49: ordered"); !strings.Contains(f.Data, `id="pizza-49"`) {
		t.Error("page 2 did not get its card")
	}
}

func TestLargeOrderSendsTotalsAndPictures(t *testing.T) {
	k := newKitchen(t)
	base := k.serve()
	id := k.place(200)
	l := listen(t, base, "/orders/"+id+"/live?state=complete")
	l.until("No pizza of this order is complete")
	k.finish(id, 150)
	f := l.until(`id="pizza-150"`)
	for _, want := range []string{`id="totals"`, `id="stage-table"`, `id="show"`, "complete, 1"} {
		if !strings.Contains(f.Data, want) {
			t.Errorf("the patch has no %q", want)
		}
	}
	if f.ID != "" || strings.Contains(f.Data, "data-prepend") {
		t.Error("a large order sends single events")
	}
}

func TestOtherPagesAreLive(t *testing.T) {
	k := newKitchen(t)
	base := k.serve()
	home, list := listen(t, base, "/live"), listen(t, base, "/orders/live")
	home.until("No orders yet")
	list.until("No orders yet")
	id := k.place(1)
	home.until("/orders/" + id)
	list.until("/orders/" + id)
	pizza := listen(t, base, "/pizzas/"+id+"-1/live")
	pizza.until("No event yet")
	k.finish(id, 1)
	pizza.until("Tomato, burrata, prosciutto and basil")
	if f, ok := pizza.next(); !ok || f.Event != "end" {
		t.Errorf("the pizza's stream says %+v, want end", f)
	}
	home.until(id + "-1")
	list.until("complete in")
}

func TestStreamEndsWhenTheServerStops(t *testing.T) {
	k := newKitchen(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := httpserver.NewServer(ln, k.Main, k.main.log)
	served := make(chan error, 1)
	go func() { served <- srv.Serve() }()
	l := listen(t, "http://"+srv.Addr(), "/orders/"+k.place(1)+"/live")
	l.until("0 of 1 complete")
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if f, ok := l.next(); ok {
		t.Errorf("the stream says %+v", f)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func noNews(context.Context) bool { return false }

// TestAnswersAreCoalesced: whatever the rate of commits, a page is asked after
// a pause at most, and at the heartbeat at least.
func TestAnswersAreCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		changed := make(chan struct{})
		go func() { // commits all the time
			for {
				select {
				case changed <- struct{}{}:
				case <-ctx.Done():
					return
				}
			}
		}()
		asked := 0
		next := func(context.Context) (message, error) { asked++; return message{}, nil }
		send := func(message) error { return nil }
		p := &pump{changed: changed, pause: 100 * time.Millisecond, news: noNews, next: next, send: send}
		if err := p.run(ctx, message{}); err != nil {
			t.Error(err)
		}
		if asked < 98 || asked > 100 {
			t.Errorf("asked %d times in 10 s, want 100", asked)
		}

		quiet, cancel := context.WithTimeout(t.Context(), time.Minute+time.Millisecond)
		defer cancel()
		asked = 0
		p.changed = nil
		if err := p.run(quiet, message{}); err != nil {
			t.Error(err)
		}
		if asked != 4 {
			t.Errorf("asked %d times in a quiet minute, want 4", asked)
		}
	})
}

func TestPumpEndsOnErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("gone")
		ok := func(context.Context) (message, error) { return message{}, nil }
		send := func(message) error { return gone }
		p := &pump{pause: time.Second, news: noNews, next: ok, send: send}
		if err := p.run(t.Context(), message{}); !errors.Is(err, gone) {
			t.Errorf("pump returned %v when it could not write", err)
		}
		broken := func(context.Context) (message, error) { return message{}, gone }
		p = &pump{pause: time.Second, news: noNews, next: broken}
		if err := p.run(t.Context(), message{}); !errors.Is(err, gone) {
			t.Errorf("pump returned %v when it could not read", err)
		}
	})
}

// TestTotalsArePaced drives the stream of an order by hand, with a clock of its own.
func TestTotalsArePaced(t *testing.T) {
	k := newKitchen(t)
	clock := noon
	k.main.now = func() time.Time { return clock }
	id := k.place(3)
	st := &orderStream{site: k.main, id: id, on: shown{Page: 1}, delta: newDelta(), said: clock}
	step := func(after time.Duration) (string, time.Duration) {
		clock = clock.Add(after)
		m, err := st.nextSmall(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return string(m.HTML), m.Again
	}
	says := func(html, part string, want bool) {
		t.Helper()
		if strings.Contains(html, part) != want {
			t.Errorf("%v: %q is there: %v, want %v", clock.Sub(noon), part, !want, want)
		}
	}
	html, _ := step(0)
	says(html, `id="totals"`, true)
	k.finish(id, 1)
	html, again := step(100 * time.Millisecond)
	says(html, `id="pizza-1"`, true)
	says(html, `id="totals"`, false)
	if again != 150*time.Millisecond {
		t.Errorf("looks again after %v, want 150ms", again)
	}
	html, again = step(150 * time.Millisecond)
	says(html, "1 of 3 complete", true)
	says(html, `id="announce"`, false)
	if again != elapsedPause {
		t.Errorf("looks again after %v, want 1s", again)
	}
	html, _ = step(5 * time.Second)
	says(html, "1 of 3 pizzas complete</p>", true)
	k.finish(id, 2)
	html, _ = step(time.Second)
	says(html, `id="announce"`, false)
	k.finish(id, 3)
	html, _ = step(10 * time.Millisecond) // the end is not paced
	says(html, "3 of 3 complete", true)
	says(html, "3 of 3 pizzas complete</p>", true)
}

// TestIngredientCannotForgeAnEvent: a carriage return ends a line of the stream.
func TestIngredientCannotForgeAnEvent(t *testing.T) {
	for in, want := range map[string]string{
		"a":                    "data: a\n\n",
		"a\nb":                 "data: a\ndata: b\n\n",
		"a\rid: 9\r\n\r\nb":    "data: a\ndata: id: 9\ndata: \ndata: \ndata: \ndata: b\n\n",
		"a\n":                  "data: a\n\n",
		"\nevent: end\ndata:x": "data: \ndata: event: end\ndata: data:x\n\n",
	} {
		o := &sse{}
		o.data([]byte(in))
		if got := o.buf.String(); got != want {
			t.Errorf("%q is written as %q, want %q", in, got, want)
		}
	}
}

// deadlines records the deadlines that a handler sets.
type deadlines struct {
	*httptest.ResponseRecorder
	write []time.Time
}

func (d *deadlines) SetWriteDeadline(t time.Time) error { d.write = append(d.write, t); return nil }

// A stream has a new deadline for each write.
func TestStreamDeadlines(t *testing.T) {
	k := newKitchen(t)
	id := k.place(1)
	k.finish(id, 1)
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	k.Main.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/orders/"+id+"/live", nil))
	if len(w.write) != 2 || time.Until(w.write[1]) > sendTimeout {
		t.Errorf("write deadlines %v, want that of the request and one of %v", w.write, sendTimeout)
	}
	if !strings.HasSuffix(w.Body.String(), "event: end\ndata:\n\n") {
		t.Errorf("the stream of a complete order does not end:\n%s", w.Body)
	}
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := httptest.NewRecorder()
		o := newSSE(w)
		for range 40 { // nothing to say for 20 s, asked twice a second
			if err := o.send(message{}); err != nil {
				t.Fatal(err)
			}
			<-time.After(500 * time.Millisecond) // of the bubble: no time passes
		}
		if got := strings.Count(w.Body.String(), ": still here\n\n"); got != 2 {
			t.Errorf("%d comments in 20 s, want one at once and one after 15 s", got)
		}
	})
}

func TestRates(t *testing.T) {
	var r rates
	o := largeOrder()
	at := func(s float64, sauce int) []int {
		o.Progress = steps(10000, sauce, 0, 0, 0)
		return r.add(noon.Add(time.Duration(s*float64(time.Second))), o)
	}
	if got := at(0, 100); got != nil {
		t.Errorf("a rate from one sample: %v", got)
	}
	at(0.5, 150)
	if got := at(1, 300); got == nil || got[1] != 200 {
		t.Errorf("rates %v, want 200 at sauce", got)
	}
	for i := range 20 {
		at(1.5+float64(i)/2, 300)
	}
	if got := at(12, 300); got[1] != 0 || len(r.samples) > 8 {
		t.Errorf("rates %v of %d samples, want none of the last three seconds", got, len(r.samples))
	}
}

func TestHeadOfAStreamReturns(t *testing.T) {
	k := newKitchen(t)
	ask(k.Main, httptest.NewRequest(http.MethodHead, "/orders/"+k.place(1)+"/live", nil)).want(t, 200)
}

func BenchmarkStreamOfCookingDozen(b *testing.B) {
	pl := testPipeline(b)
	_, pizzas := cookingDozen()
	d := newDelta()
	for b.Loop() {
		for i, v := range views(pl, pizzas...) {
			d.add(context.Background(), fmt.Sprint(i), card(v))
		}
		if _, err := d.take(); err != nil {
			b.Fatal(err)
		}
	}
}
