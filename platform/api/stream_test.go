package api

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStreamTellsWhatHappens(t *testing.T) {
	l := newLine(t, nil, mountMain)
	id := l.place(2)
	s := l.open(events(id))
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no",
	} {
		if got := s.Header.Get(name); s.StatusCode != 200 || got != want {
			t.Errorf("%d, %s: %q", s.StatusCode, name, got)
		}
	}
	if m := s.must(); m.event != "order" || !strings.Contains(m.data, `"status":"cooking","completed":0`) {
		t.Errorf("first: %+v", m)
	}
	l.bake(id, 1)
	var live []message
	for len(live) < 6 {
		if m := s.must(); m.id > 0 {
			live = append(live, m)
		}
	}
	if got := names(live); got != "dispatched stage stage stage stage complete" {
		t.Errorf("a pizza's events: %s", got)
	}
	l.bake(id, 2)
	all := s.rest()
	checkNumbers(t, append(live, numbered(all)...), 0, 12)
	if got := names(all[len(all)-2:]); got != "order end" {
		t.Errorf("the end: %s", got)
	}
	for _, m := range all {
		if !json.Valid([]byte(m.data)) {
			t.Errorf("%s: not JSON: %s", m.event, m.data)
		}
	}
	last := all[len(all)-2].data
	if a := l.get("/api/orders?limit=1"); !strings.Contains(a.body, last) || !strings.Contains(last, `"status":"complete"`) {
		t.Errorf("the last order event is not the order:\n%s\n%s", last, a.body)
	}
}

// Wherever a reader was cut off, the rest is what it has not seen.
func TestStreamResumesAtEveryCut(t *testing.T) {
	l := newLine(t, func(s *server) { s.pace.page = 4 }, mountMain) // cuts fall on, before and behind page ends
	id := l.place(3)
	l.bake(id, 1, 2, 3)
	whole := numbered(l.open(events(id)).rest())
	checkNumbers(t, whole, 0, 18)
	for cut := range 19 {
		for _, s := range []*reader{
			l.open(events(id), fmt.Sprintf("Last-Event-ID: %d", cut)),
			l.open(fmt.Sprintf("%s?last_event_id=%d", events(id), cut)),
			l.open(events(id)+"?last_event_id=3", fmt.Sprintf("Last-Event-ID: %d", cut)), // the header wins
		} {
			rest := s.rest()
			if diff := cmp.Diff(whole[cut:], numbered(rest), cmp.AllowUnexported(message{}), cmp.Transformer("empty", func(m []message) []message { return append([]message{}, m...) })); diff != "" {
				t.Errorf("after %d: %s", cut, diff)
			}
			if got := names(rest[len(rest)-2:]); got != "order end" {
				t.Errorf("after %d the stream ends with %s", cut, got)
			}
		}
	}
}

// The same while pizzas are being made: one reader, dropped after every event.
func TestStreamResumesWhileCooking(t *testing.T) {
	l := newLine(t, func(s *server) { s.pace.reads = 0 }, mountMain)
	id := l.place(10)
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := range 10 {
			l.bake(id, n+1)
		}
	})
	var all []message
	for ended := false; !ended; {
		s := l.open(events(id), fmt.Sprintf("Last-Event-ID: %d", len(all)))
		for {
			m := s.must()
			if m.id > 0 {
				all = append(all, m)
				break
			}
			if ended = m.event == "end"; ended {
				break
			}
		}
		_ = s.conn.Close()
	}
	wg.Wait()
	checkNumbers(t, all, 0, 60)
}

func TestStreamParameters(t *testing.T) {
	l := newLine(t, nil, mountMain)
	id := l.place(1)
	l.bake(id, 1)
	for _, query := range []string{
		"?last_event_id=", "?last_event_id=x", "?last_event_id=-1", "?last_event_id=1.0", "?last_event_id=1&last_event_id=1",
		"?detail=all", "?detail=", "?detail=summary&detail=summary",
	} {
		l.wantProblem(query, l.get(events(id)+query), 400)
	}
	for _, headers := range [][]string{
		{"Last-Event-ID: x"}, {"Last-Event-ID:"}, {"Last-Event-ID: -1"}, {"Last-Event-ID: 99999999999999999999"},
		{"Last-Event-ID: 1", "Last-Event-ID: 1"},
	} {
		l.wantProblem(headers[0], l.call("GET", events(id), "", headers...), 400)
	}
	l.wantProblem("unknown order", l.get(events("nope")), 404)
	l.wantProblem("method", l.call("POST", events(id), ""), 405)
	if got := names(l.open(events(id), "Last-Event-ID: 7000").rest()); got != "order end" {
		t.Errorf("beyond the newest event: %s", got)
	}
}

// A number that was never given out counts as the newest, not as one to wait for.
func TestStreamBeyondTheNewestGoesOnWithTheNext(t *testing.T) {
	l := newLine(t, nil, mountMain)
	id := l.place(1)
	l.reach(id, "pizza", 1)
	s := l.open(events(id), "Last-Event-ID: 7000")
	if m := s.must(); m.event != "order" {
		t.Fatalf("first: %+v", m)
	}
	l.reach(id, "sauce", 1)
	if m := s.must(); m.id != 2 || m.event != "stage" {
		t.Errorf("next: %+v", m)
	}
}

func TestSummary(t *testing.T) {
	l := newLine(t, nil, mountMain)
	id := l.place(20)
	l.reach(id, "pizza", upTo(20)...)
	s := l.open(events(id) + "?detail=summary")
	if m := s.must(); m.event != "order" || !strings.Contains(m.data, `{"step":"pizza","count":20}`) || strings.Contains(m.data, "pizzas") {
		t.Errorf("first: %+v", m)
	}
	l.bake(id, upTo(20)...)
	for _, m := range s.rest() {
		if m.event != "order" && m.event != "end" || m.id != 0 {
			t.Errorf("in a summary: %+v", m)
		}
	}
	if got := names(l.open(events(id) + "?detail=summary&last_event_id=5").rest()); got != "order end" {
		t.Errorf("of a complete order: %s", got)
	}
}

// Between the first and the last order event there is a pause.
func TestOrderEventsAreRare(t *testing.T) {
	l := newLine(t, func(s *server) { s.pace.reads, s.pace.orders = 0, time.Hour }, mountMain)
	id := l.place(30)
	s := l.open(events(id))
	first := s.must()
	for n := range 30 {
		l.bake(id, n+1)
	}
	all := append([]message{first}, s.rest()...)
	orders := 0
	for _, m := range all {
		if m.event == "order" {
			orders++
		}
	}
	if orders != 2 || len(numbered(all)) != 180 {
		t.Errorf("%d order events and %d others, want the first and the last, and 180", orders, len(numbered(all)))
	}
}

// An order event that was held back comes when its time has come, though
// nothing is committed any more.
func TestOrderEventHeldBackComesLater(t *testing.T) {
	l := newLine(t, func(s *server) { s.pace.orders = 100 * time.Millisecond }, mountMain)
	id := l.place(2)
	s := l.open(events(id))
	s.must()
	l.reach(id, "pizza", 1)
	if m := s.must(); m.event != "dispatched" {
		t.Fatalf("%+v", m)
	}
	if m := s.must(); m.event != "order" || !strings.Contains(m.data, `{"step":"pizza","count":1}`) {
		t.Errorf("%+v", m)
	}
}

func TestPartialOrderKeepsItsStream(t *testing.T) {
	l := newLine(t, func(s *server) { s.pace.comment = 20 * time.Millisecond }, mountMain)
	id := l.place(1)
	l.bury(id, 1, "letter")
	s := l.open(events(id))
	if m := s.must(); m.event != "dispatched" {
		t.Errorf("%+v", m) // the letter implies it
	}
	if m := s.must(); m.event != "dead_letter" || !strings.Contains(m.data, `"module":"sauce","error":"out of tomatoes"`) {
		t.Errorf("%+v", m)
	}
	if m := s.must(); m.event != "order" || !strings.Contains(m.data, `"status":"partial"`) {
		t.Errorf("%+v", m)
	}
	for range 2 {
		if m, err := s.next(); err != nil || !m.comment {
			t.Fatalf("%+v, %v: want a comment", m, err)
		}
	}
	l.stop()
	if _, err := s.next(); err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("%v: want the clean end", err)
	}
}

// Idle streams read nothing, whatever happens to other orders.
func TestIdleStreamsDoNotPoll(t *testing.T) {
	l := newLine(t, func(s *server) { s.pace.comment = 10 * time.Millisecond }, mountMain)
	id, other := l.place(2), l.place(2)
	var open []*reader
	for _, query := range []string{"", "?detail=summary"} {
		s := l.open(events(id) + query)
		s.must()
		open = append(open, s)
	}
	l.bake(other, 1)
	before := l.db.views.Load()
	for _, s := range open {
		for range 20 {
			if m, err := s.next(); err != nil || !m.comment {
				t.Fatalf("%+v, %v: want a comment", m, err)
			}
		}
	}
	if n := l.db.views.Load() - before; n != 0 {
		t.Errorf("%d reads while nothing happened", n)
	}
}

func TestSlowReaderIsDroppedAndResumes(t *testing.T) {
	left := make(chan struct{})
	l := newLine(t, func(s *server) { s.pace.write = 500 * time.Millisecond }, func(mux *http.ServeMux, s *server) {
		var once sync.Once
		mux.HandleFunc("GET /api/orders/{id}/events", func(w http.ResponseWriter, r *http.Request) {
			s.events(w, r)
			once.Do(func() { close(left) })
		})
	})
	const pizzas = 600
	id := l.place(pizzas)
	l.bake(id, upTo(pizzas)...)
	conn, err := net.Dial("tcp", l.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET "+events(id)+" HTTP/1.1\r\nHost: pizza\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-left // without having read a byte
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	slow := &reader{t, conn, bufio.NewReader(res.Body), res}
	var got []message
	for {
		m, err := slow.next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				t.Fatal("the stream ends as if it were whole")
			}
			break // cut, perhaps within an event
		}
		if m.id > 0 {
			got = append(got, m)
		}
	}
	rest := l.open(events(id), fmt.Sprintf("Last-Event-ID: %d", len(got))).rest()
	checkNumbers(t, append(got, numbered(rest)...), 0, pizzas*6)
	if len(got) == pizzas*6 {
		t.Error("nothing was left out: the reader was not dropped")
	}
}

func TestShutdownEndsStreams(t *testing.T) {
	l := newLine(t, nil, mountMain)
	id := l.place(1)
	var open []*reader
	for _, query := range []string{"", "?detail=summary"} {
		s := l.open(events(id) + query)
		s.must()
		open = append(open, s)
	}
	l.stop()
	for _, s := range open {
		if m, err := s.next(); !errors.Is(err, io.EOF) {
			t.Errorf("%+v, %v: want the clean end", m, err)
		}
	}
}

func TestManyStreams(t *testing.T) {
	const streams, pizzas = 200, 20
	l := newLine(t, nil, mountMain)
	id := l.place(pizzas)
	var wg sync.WaitGroup
	for i := range streams {
		query := ""
		if i%2 == 1 {
			query = "?detail=summary"
		}
		s := l.open(events(id) + query)
		wg.Go(func() {
			all := s.rest()
			want := pizzas * 6
			if query != "" {
				want = 0
			}
			if n := len(numbered(all)); n != want || all[len(all)-1].event != "end" {
				t.Errorf("%d events, ends with %s", n, all[len(all)-1].event)
			}
		})
	}
	l.bake(id, upTo(pizzas)...)
	wg.Wait()
	if n := l.db.views.Load(); n > streams*40 {
		t.Errorf("%d reads for %d streams", n, streams)
	}
}
