package ui

import (
	"context"
	"errors"
	"time"

	"github.com/pizzamill/pizzamill/platform/module"
	"github.com/pizzamill/pizzamill/platform/store"
)

// lineNews is what a page says of the line as a whole; the zero value is nothing.
type lineNews struct {
	State state
	Title string
	Count string // what waits; it may change without being news
	Text  string
}

func (n lineNews) icon() string {
	if n.State == stPaused {
		return "i-warn"
	}
	return n.State.icon()
}

// lineNow says that the line is paused, if it is.
func (s *site) lineNow(ctx context.Context) lineNews {
	o := s.outage()
	if o == nil {
		return lineNews{}
	}
	n := lineNews{State: stPaused, Title: s.pausedBecause(*o)}
	t, err := s.ledger.Totals(ctx)
	if err != nil {
		return n // what cannot be looked up is not promised either
	}
	n.Text = "You can go on ordering."
	switch waiting := t.InFlight(); waiting {
	case 0:
		n.Count = "Orders are safe and wait."
	case 1:
		n.Count = "1 pizza is safe and waits."
	default:
		n.Count = num(waiting) + " pizzas are safe and wait."
	}
	return n
}

func (s *site) pausedBecause(o module.Outage) string {
	what := "cannot be reached"
	if o.Refuses {
		what = "takes no messages"
	}
	return "The line is paused: " + s.broker + " " + what + " since " + placed(o.Since, s.now()) + "."
}

// runsAgain says that the line is no longer paused.
func (s *site) runsAgain(ctx context.Context) lineNews {
	n := lineNews{State: stComplete, Title: "The line runs again."}
	t, err := s.ledger.Totals(ctx)
	if err != nil {
		return n
	}
	switch waiting := t.InFlight(); waiting {
	case 0:
	case 1:
		n.Text = "1 waiting pizza is being cooked."
	default:
		n.Text = num(waiting) + " waiting pizzas are being cooked."
	}
	return n
}

// lineWatch adds to what one page's stream says what is new of the line.
type lineWatch struct {
	site   *site
	next   func(context.Context) (message, error)
	looked bool
	away   time.Time // since when the store cannot be read; zero while it can
	shown  lineNews
	delta  *delta
}

func (s *site) watchLine(next func(context.Context) (message, error)) *lineWatch {
	return &lineWatch{site: s, next: next, delta: newDelta()}
}

// changed reports whether the line has stopped or goes on since the page was told.
func (w *lineWatch) changed(ctx context.Context) bool {
	if away := !w.site.store.since(ctx).IsZero(); away || !w.away.IsZero() {
		return away == w.away.IsZero()
	}
	return (w.site.outage() != nil) != (w.shown.State == stPaused)
}

// look asks next, and adds the news. While the line is paused no stream ends,
// since the page must hear that it runs again.
func (w *lineWatch) look(ctx context.Context) (message, error) {
	m, err := w.next(ctx)
	switch {
	case err == nil:
		w.away = time.Time{}
	case !w.looked || errors.Is(err, store.ErrNotFound) || ctx.Err() != nil:
		return m, err
	default:
		m = message{}
		if w.away.IsZero() {
			w.site.log.WarnContext(ctx, "page stream waits for the store", "err", err)
		}
		w.away = w.site.store.failed()
	}
	w.looked = true
	w.shown = w.news(ctx)
	w.delta.add(ctx, "outage", lineStatus(w.shown))
	html, err := w.delta.take()
	m.HTML = append(m.HTML, html...)
	m.End = m.End && w.shown.State != stPaused
	return m, err
}

func (w *lineWatch) news(ctx context.Context) lineNews {
	if !w.away.IsZero() {
		return lineNews{
			State: stPaused,
			Title: "The line is paused: the store cannot be read since " + placed(w.away, w.site.now()) + ".",
			Text:  "Orders cannot be taken now.",
		}
	}
	now := w.site.lineNow(ctx)
	switch {
	case now.State == stPaused:
		return now
	case w.shown.State == stPaused:
		return w.site.runsAgain(ctx)
	default:
		return w.shown
	}
}
