package ui

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"net/http"
	"strconv"
	"time"

	"github.com/a-h/templ"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/httpserver"
)

// Times of a page's stream.
const (
	heartbeat   = 15 * time.Second       // a comment keeps proxies awake
	sendTimeout = 10 * time.Second       // a browser too slow is dropped, and takes the stream up again
	homePause   = 500 * time.Millisecond // the ordering page changes at most twice a second
	lineEvery   = time.Second            // how often a page looks whether the line has stopped, which asks nobody
)

// message is what a page's stream says at once.
type message struct {
	ID    int64         // number of the last stream event in it, 0 for none
	HTML  []byte        // fragments; each replaces the element with its id. Empty: nothing has changed
	End   bool          // nothing will change any more
	Again time.Duration // ask again after this time even if nothing is committed; 0: at the next heartbeat
}

// stream answers with server-sent events of fragments until next says that it
// is over, the browser goes or the server stops. It asks next at once, and then
// as pump says. An error of the first answer is a page of its own; later the page
// is told to wait.
func (s *site) stream(w http.ResponseWriter, r *http.Request, order string, pause time.Duration, next func(context.Context) (message, error)) {
	changed, stop := s.ledger.Watch(order) // before the first look, so that no commit falls between
	defer stop()
	line := s.watchLine(next)
	first, err := line.look(r.Context())
	if err != nil {
		s.failLedger(w, r, err, "page", r.URL.Path)
		return
	}
	out := newSSE(w)
	if err := out.send(first); err != nil || r.Method == http.MethodHead {
		return
	}
	p := &pump{stopping: httpserver.Stopping(r.Context()), changed: changed, pause: pause, news: line.changed, next: line.look, send: out.send}
	err = p.run(r.Context(), first)
	if err != nil && r.Context().Err() == nil {
		s.log.WarnContext(r.Context(), "page stream ended early", "path", r.URL.Path, "err", err)
	}
}

// pump is what moves a page's stream.
type pump struct {
	stopping, changed <-chan struct{}
	pause             time.Duration              // between two questions
	news              func(context.Context) bool // of the line; it is cheap and asked all the time
	next              func(context.Context) (message, error)
	send              func(message) error
	timer             *time.Timer
}

// run asks next whenever something has changed, when the line has stopped or
// goes on, or when the last message said to, and sends the answer, until that is
// the end, the browser goes or the server stops. What happens during the pause
// between two questions is one answer.
func (p *pump) run(ctx context.Context, m message) error {
	p.timer = time.NewTimer(p.pause)
	defer p.timer.Stop()
	for !m.End {
		if m.Again == 0 || m.Again > heartbeat {
			m.Again = heartbeat
		}
		if p.wait(ctx, p.pause, nil) == over || !p.idle(ctx, m.Again-p.pause) {
			return nil
		}
		var err error
		if m, err = p.next(ctx); err != nil {
			return fmt.Errorf("read what has changed: %w", err)
		}
		if err := p.send(m); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}

// idle waits until something has changed, at most d; false if the stream is over.
func (p *pump) idle(ctx context.Context, d time.Duration) bool {
	for {
		switch p.wait(ctx, min(d, lineEvery), p.changed) {
		case over:
			return false
		case early:
			return true
		}
		if d -= lineEvery; d <= 0 || p.news(ctx) {
			return true
		}
	}
}

// How a wait ends.
type waited int

const (
	over  waited = iota // nobody wants to know any more
	early               // something has changed
	late                // the time has passed
)

func (p *pump) wait(ctx context.Context, d time.Duration, changed <-chan struct{}) waited {
	p.timer.Reset(max(0, d))
	select {
	case <-ctx.Done():
		return over
	case <-p.stopping:
		return over
	case <-changed:
		return early
	case <-p.timer.C:
		return late
	}
}

// sse writes server-sent events.
type sse struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	buf  bytes.Buffer
	last time.Time // of the last write
}

func newSSE(w http.ResponseWriter) *sse {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	return &sse{w: w, rc: http.NewResponseController(w)}
}

// send writes a message, or a comment if there is none and it is time for one.
func (o *sse) send(m message) error {
	o.buf.Reset()
	if len(m.HTML) > 0 {
		if m.ID > 0 {
			o.buf.WriteString("id: " + strconv.FormatInt(m.ID, 10) + "\n")
		}
		o.buf.WriteString("event: patch\n")
		o.data(m.HTML)
	}
	if m.End {
		o.buf.WriteString("event: end\ndata:\n\n")
	}
	if o.buf.Len() == 0 {
		if time.Since(o.last) < heartbeat {
			return nil
		}
		o.buf.WriteString(": still here\n\n")
	}
	o.last = time.Now()
	_ = o.rc.SetWriteDeadline(o.last.Add(sendTimeout)) // a test's recorder has no deadlines
	if _, err := o.w.Write(o.buf.Bytes()); err != nil {
		return err
	}
	return o.rc.Flush()
}

// data writes text as data lines. A carriage return ends a line too, and an
// ingredient may have one: unescaped it would forge fields of the event.
func (o *sse) data(text []byte) {
	for len(text) > 0 {
		line, rest := text, []byte(nil)
		if i := bytes.IndexAny(text, "\r\n"); i >= 0 {
			line, rest = text[:i], text[i+1:]
		}
		o.buf.WriteString("data: ")
		o.buf.Write(line)
		o.buf.WriteByte('\n')
		text = rest
	}
	o.buf.WriteByte('\n')
}

// delta collects the fragments that have changed since it last sent them.
type delta struct {
	seen map[string]uint64 // hash of what was sent last, by name
	seed maphash.Seed
	html bytes.Buffer
	part bytes.Buffer
	err  error // the first one; nothing is collected after it
}

func newDelta() *delta { return &delta{seen: map[string]uint64{}, seed: maphash.MakeSeed()} }

// add renders a fragment and keeps it if it differs from the last one under that name.
func (d *delta) add(ctx context.Context, name string, c templ.Component) {
	d.part.Reset()
	if d.err == nil {
		d.err = c.Render(ctx, &d.part)
	}
	if d.err != nil {
		return
	}
	sum := maphash.Bytes(d.seed, d.part.Bytes())
	if old, ok := d.seen[name]; !ok || old != sum {
		d.seen[name] = sum
		d.html.Write(d.part.Bytes())
	}
}

// take returns what has been collected. It is valid until the next add.
func (d *delta) take() ([]byte, error) {
	html := d.html.Bytes()
	d.html.Reset()
	return html, d.err
}

func (s *site) homeLive(w http.ResponseWriter, r *http.Request) {
	d := newDelta()
	s.stream(w, r, "", homePause, func(ctx context.Context) (m message, err error) {
		k, err := s.kitchen(ctx)
		if err != nil {
			return m, err
		}
		d.add(ctx, "sum", sum(k.Totals))
		d.add(ctx, "stations", stations(k.Stations, k.Totals.InFlight() == 0))
		d.add(ctx, "last-out", lastOut(k))
		d.add(ctx, "recent", recent(k.Recent))
		m.HTML, err = d.take()
		return m, err
	})
}

func (s *site) ordersLive(w http.ResponseWriter, r *http.Request) {
	d := newDelta()
	s.stream(w, r, "", homePause, func(ctx context.Context) (m message, err error) {
		p, err := s.list(ctx, "")
		if err != nil {
			return m, err
		}
		d.add(ctx, "orders", orderTable(s.admin, p))
		m.HTML, err = d.take()
		return m, err
	})
}

func (s *site) pizzaLive(w http.ResponseWriter, r *http.Request) {
	id, err := event.ParsePizzaID(r.PathValue("id"))
	if err != nil {
		s.failNotFound(w, r, "pizza", r.PathValue("id"))
		return
	}
	d := newDelta()
	s.stream(w, r, id.Order, orderPause, func(ctx context.Context) (m message, err error) {
		p, open, err := s.pizzaPage(ctx, id)
		if err != nil {
			return m, err
		}
		d.add(ctx, "pizza", pizzaHero(p))
		d.add(ctx, "timeline", timeline(p))
		m.End, m.Again = !open, settleTime
		m.HTML, err = d.take()
		return m, err
	})
}
