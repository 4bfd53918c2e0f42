package api

import (
	"bytes"
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/pizzamill/pizzamill/platform/httpserver"
	"github.com/pizzamill/pizzamill/platform/store"
)

// pace is how fast event streams go.
type pace struct {
	page    int           // events read at once
	reads   time.Duration // least time between two reads of the ledger by one stream
	orders  time.Duration // least time between two order events, the last one left out
	comment time.Duration // time between two comments
	write   time.Duration // how long a reader may take to take what is written
}

var defaultPace = pace{
	page:    256,
	reads:   50 * time.Millisecond,
	orders:  250 * time.Millisecond,
	comment: 15 * time.Second,
	write:   10 * time.Second,
}

// events streams what happens to an order. A stream reads the ledger after a
// commit that changed its order, and never otherwise: its events are facts, so
// that a reader that was dropped resumes where it was without a gap or a
// repeat. A resumption ID beyond the newest event, which this ledger has never
// given out, counts as the newest.
func (s *server) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	from, summary, err := streamParams(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	order, err := s.order(r.Context(), r.PathValue("id"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	h.Set("Connection", "close")     // behind the end there is nothing more to say
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	changed, stop := s.Ledger.Watch(order.ID)
	defer stop()
	st := &stream{
		server: s, order: order.ID, summary: summary, after: min(from, order.LastEvent),
		w: w, rc: http.NewResponseController(w),
	}
	if err := st.run(r.Context(), changed); err != nil && r.Context().Err() == nil {
		s.Log.Debug("event stream ends", "order", order.ID, "error", err)
	}
}

// streamParams reads what a stream is asked for. The header wins over the
// query: a browser that reconnects keeps the URL and adds the header.
func streamParams(r *http.Request) (from int64, summary bool, err error) {
	q := parseQuery(r)
	from = q.number("last_event_id", 0, 0, math.MaxInt64)
	switch {
	case !q.values.Has("detail"):
	case q.text("detail") == "summary":
		summary = true
	default:
		q.wrong("detail must be summary, or missing for all events")
	}
	if lines := r.Header.Values("Last-Event-ID"); len(lines) > 0 {
		var ok bool
		if from, ok = digits(lines[0]); !ok || len(lines) > 1 {
			q.wrong("Last-Event-ID must be the id of an event, in plain digits")
		}
	}
	return from, summary, q.problem()
}

// stream is one reader of an order's events.
type stream struct {
	*server
	order   string
	summary bool
	after   int64 // number of the last event sent

	sent   []byte    // the last order event's data
	sentAt time.Time // and its time
	held   bool      // an order event waits for its turn

	w   http.ResponseWriter
	rc  *http.ResponseController
	buf []byte
}

// run sends events until the order is complete, the server stops or the reader
// is gone or too slow, which is an error.
func (st *stream) run(ctx context.Context, changed <-chan struct{}) error {
	if err := st.rc.Flush(); err != nil { // the reader learns at once that it is connected
		return err
	}
	comments := time.NewTicker(st.pace.comment)
	defer comments.Stop()
	for {
		readAt := time.Now()
		more, done, err := st.pump(ctx)
		if err != nil || done {
			return err
		}
		if more {
			if stopping(ctx) {
				return nil
			}
			continue
		}
		if goOn, err := st.wait(ctx, changed, comments.C, readAt); err != nil || !goOn {
			return err
		}
	}
}

func stopping(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	case <-httpserver.Stopping(ctx):
		return true
	default:
		return false
	}
}

// pump sends a page of events, the order if it is due, and the end. more means
// that another page waits already.
func (st *stream) pump(ctx context.Context) (more, done bool, err error) {
	// The order is read first: once it is complete, so are the events read after it.
	order, err := st.Ledger.Order(ctx, st.order)
	if err != nil {
		return false, false, err
	}
	b := st.buf[:0]
	if !st.summary {
		events, err := st.Ledger.Events(ctx, st.order, st.after, st.pace.page)
		if err != nil {
			return false, false, err
		}
		for _, e := range events {
			b = appendEvent(b, e)
			st.after = e.Seq
		}
		more = len(events) == st.pace.page
	}
	done = order.Status() == store.Complete && (st.summary || st.after >= order.LastEvent)
	if done || order.Status() != store.Complete { // a complete order is told behind its last event
		b = st.appendOrderEvent(b, order, done)
	}
	if done {
		b = append(b, "event: end\ndata: {\"status\":\"complete\"}\n\n"...)
	}
	st.buf = b
	return more, done, st.flush(b)
}

// appendOrderEvent appends the order if it changed since it was sent last,
// and holds it back if that was just now.
func (st *stream) appendOrderEvent(b []byte, order store.Order, last bool) []byte {
	data := appendOrder(nil, order)
	st.held = false
	if bytes.Equal(data, st.sent) {
		return b
	}
	now := time.Now()
	if !last && now.Sub(st.sentAt) < st.pace.orders {
		st.held = true
		return b
	}
	st.sent, st.sentAt = data, now
	b = append(b, "event: order\ndata: "...)
	b = append(b, data...)
	return append(b, "\n\n"...)
}

// wait returns true when the ledger is to be read again: after a commit, or
// when an order event that was held back is due.
func (st *stream) wait(
	ctx context.Context, changed <-chan struct{}, comments <-chan time.Time, readAt time.Time,
) (bool, error) {
	if cap(st.buf) > 8<<10 {
		st.buf = nil // an idle stream is small
	}
	pause := st.pace.reads
	if st.summary {
		pause = st.pace.orders
	}
	var due <-chan time.Time
	if st.held {
		due = time.After(time.Until(st.sentAt.Add(st.pace.orders)))
	}
	for {
		select {
		case <-ctx.Done():
			return false, nil
		case <-httpserver.Stopping(ctx):
			return false, nil
		case <-comments:
			if err := st.flush([]byte(":\n\n")); err != nil {
				return false, err
			}
		case <-due:
			return true, nil
		case <-changed:
			// Under load commits come by the hundred a second; one read serves many.
			changed = nil
			due = time.After(time.Until(readAt.Add(pause)))
		}
	}
}

// flush writes and flushes, within the time that a reader has.
func (st *stream) flush(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if err := st.rc.SetWriteDeadline(time.Now().Add(st.pace.write)); err != nil {
		return err
	}
	if _, err := st.w.Write(b); err != nil {
		return err
	}
	return st.rc.Flush()
}

// appendEvent appends a numbered event in the form of server-sent events. The
// JSON is one line, since strings in it have their line ends escaped.
func appendEvent(b []byte, e store.StreamEvent) []byte {
	b = strconv.AppendInt(append(b, "id: "...), e.Seq, 10)
	b = append(append(b, "\nevent: "...), e.Kind...)
	b = append(b, "\ndata: "...)
	if e.Kind == store.EventComplete {
		b = appendPizza(b, *e.Done)
		return append(b, "\n\n"...)
	}
	b = appendText(append(b, '{'), "pizza_id", e.Pizza.String())
	b = appendNumber(b, "number", e.Pizza.Number)
	switch e.Kind {
	case store.EventStage:
		b = appendText(b, "stage", e.Step)
		b = appendText(b, "value", e.Value)
	case store.EventDeadLetter:
		b = appendText(b, "module", e.Module)
		b = appendText(b, "error", e.Error)
	case store.EventDispatched, store.EventComplete:
	}
	b = appendMoment(b, "at", e.At)
	return append(b, "}\n\n"...)
}
