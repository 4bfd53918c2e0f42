package ui

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/pizzamill/pizzamill/platform/httpserver"
	"github.com/pizzamill/pizzamill/platform/store"
)

// How often the parts of an order's page change at most.
const (
	orderPause   = 100 * time.Millisecond // cards and tape
	totalsPause  = 250 * time.Millisecond
	largePause   = 500 * time.Millisecond
	sayPause     = 5 * time.Second // what screen readers are told
	elapsedPause = time.Second     // the time so far
)

// orderStream is where one page of an order stands.
type orderStream struct {
	site  *site
	id    string
	on    shown
	last  int64 // the last stream event that the page has
	delta *delta
	// inferred are the cards with steps that may still get times of their own;
	// nil before the first look at the cards.
	inferred map[int]bool

	totaled time.Time // when the totals were sent
	said    time.Time // when something was announced
	rates   rates
}

// orderLive streams the page of an order. A small one gets each event, from
// the one after last_event_id on, without a gap; of a large one only the
// totals and the small pictures on the page.
func (s *site) orderLive(w http.ResponseWriter, r *http.Request) {
	o, ok := s.findOrder(w, r)
	if !ok {
		return
	}
	id := o.ID
	on, ok := shownOf(r, o)
	last, lastOK := lastEventID(r)
	if !ok || !lastOK {
		s.fail(w, r, httpserver.NewProblem(http.StatusBadRequest, "The stream has no such page or event number."))
		return
	}
	now := s.now()
	st := &orderStream{site: s, id: id, on: on, last: last, delta: newDelta(), said: now}
	if o.Count > cardsMax {
		s.stream(w, r, id, largePause, st.nextLarge)
		return
	}
	s.stream(w, r, id, orderPause, st.nextSmall)
}

// lastEventID reads where to go on: the query on the first connection of a page, the
// header when a browser comes back by itself.
func lastEventID(r *http.Request) (int64, bool) {
	text := r.Header.Get("Last-Event-ID")
	if text == "" {
		text = r.URL.Query().Get("last_event_id")
	}
	if text == "" {
		return 0, true
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n >= 0
}

// nextSmall sends the tape's new lines, and the cards that they are about. After
// an error it has sent nothing, and begins again where it was.
func (st *orderStream) nextSmall(ctx context.Context) (m message, err error) {
	defer func(last int64) {
		if err != nil {
			st.last = last
		}
	}(st.last)
	events, err := st.newEvents(ctx)
	if err != nil {
		return message{}, err
	}
	o, err := st.site.ledger.Order(ctx, st.id)
	if err != nil {
		return message{}, err
	}
	if err := st.addEvents(ctx, events); err != nil {
		return message{}, err
	}
	// The order was read after the events, so it may know of more of them.
	done := o.Status() == store.Complete && o.LastEvent <= st.last
	m = message{ID: st.last, End: done && st.site.settled(o.CompletedAt, len(st.inferred) > 0)}
	m.Again = st.addTotals(ctx, o, totalsPause, done)
	if done {
		m.Again = settleTime
	}
	m.HTML, err = st.delta.take()
	return m, err
}

// newEvents reads what comes after the last event, all of it.
func (st *orderStream) newEvents(ctx context.Context) ([]store.StreamEvent, error) {
	const batch = 1000
	var all []store.StreamEvent
	for {
		events, err := st.site.ledger.Events(ctx, st.id, st.last, batch)
		if err != nil {
			return nil, err
		}
		all = append(all, events...)
		if len(events) > 0 {
			st.last = events[len(events)-1].Seq
		}
		if len(events) < batch {
			return all, nil
		}
	}
}

// addEvents adds the tape's lines for all events, and each card they are about
// once, as it is now.
func (st *orderStream) addEvents(ctx context.Context, events []store.StreamEvent) error {
	touched := map[int]bool{}
	for _, e := range events {
		touched[e.Pizza.Number] = true
	}
	if err := st.addCards(ctx, touched); err != nil || len(events) == 0 {
		return err
	}
	st.delta.add(ctx, "event-count", eventCount(st.last))
	delete(st.delta.seen, "tape") // two lines that read the same are two events
	st.delta.add(ctx, "tape", tapePatch(viewEvents(events)))
	return nil
}

// addCards adds the cards on the page that something happened to, and those
// that wait for the times of inferred steps.
func (st *orderStream) addCards(ctx context.Context, touched map[int]bool) error {
	if st.inferred != nil && len(st.inferred) == 0 && !st.on.hasAny(touched) {
		return nil
	}
	views, _, err := st.site.shownPizzas(ctx, st.id, st.on)
	if err != nil {
		return err
	}
	before := st.inferred
	st.inferred = map[int]bool{}
	for _, v := range views {
		n := v.ID.Number
		if v.Inferred {
			st.inferred[n] = true
		}
		if touched[n] || before[n] || v.Inferred {
			st.delta.add(ctx, "pizza-"+strconv.Itoa(n), card(v))
		}
	}
	return nil
}

// nextLarge sends the totals and the small pictures, as they are now.
func (st *orderStream) nextLarge(ctx context.Context) (message, error) {
	o, err := st.site.ledger.Order(ctx, st.id)
	if err != nil {
		return message{}, err
	}
	m := message{End: o.Status() == store.Complete}
	m.Again = st.addTotals(ctx, o, largePause, m.End)
	p := orderPage{Totals: totals{Order: o}, Shown: st.on}
	if p.Pizzas, p.More, err = st.site.shownPizzas(ctx, st.id, st.on); err != nil {
		return m, err
	}
	st.delta.add(ctx, "tray", tray(p))
	m.HTML, err = st.delta.take()
	return m, err
}

// addTotals adds the head of the page, unless it was sent less than pause ago,
// and returns when to look again.
func (st *orderStream) addTotals(ctx context.Context, o store.Order, pause time.Duration, end bool) time.Duration {
	now := st.site.now()
	if wait := pause - now.Sub(st.totaled); wait > 0 && !end {
		return wait
	}
	st.totaled = now
	t := totals{Order: o, Now: now, Rates: st.rates.add(now, o)}
	st.delta.add(ctx, "totals", orderTotals(t))
	if o.Count > cardsMax {
		st.delta.add(ctx, "pace", pace(t))
		st.delta.add(ctx, "stage-table", stageTable(t))
		st.delta.add(ctx, "filter", filter(t, st.on.Filter))
	}
	again := time.Duration(0)
	if wait := sayPause - now.Sub(st.said); wait <= 0 || end {
		st.said = now
		st.delta.add(ctx, "announce", announcement(t.announcement()))
	} else if !t.open() {
		again = wait // the last word is said, too
	}
	if t.open() {
		again = earlier(again, elapsedPause)
	}
	return again
}

// earlier returns the shorter of two waits, where 0 is none.
func earlier(a, b time.Duration) time.Duration {
	if a == 0 {
		return b
	}
	return min(a, b)
}

// rates measures how many pizzas pass each step in a second, over the last few.
type rates struct{ samples []sample }

type sample struct {
	at     time.Time
	counts []int
}

// rateWindow is long enough to be steady and short enough to be now.
const rateWindow = 3 * time.Second

// add takes a sample and returns the rates, nil before there is a second to measure.
func (r *rates) add(now time.Time, o store.Order) []int {
	if o.Status() == store.Complete {
		return nil // over all its time
	}
	counts := make([]int, len(o.Progress))
	for i, p := range o.Progress {
		counts[i] = p.Count
	}
	r.samples = append(r.samples, sample{now, counts})
	old := slices.IndexFunc(r.samples, func(s sample) bool { return now.Sub(s.at) <= rateWindow })
	r.samples = r.samples[max(0, old):]
	first := r.samples[0]
	d := now.Sub(first.at)
	if d < time.Second || len(first.counts) != len(counts) {
		return nil
	}
	perSecond := make([]int, len(counts))
	for i := range counts {
		perSecond[i] = int(float64(max(0, counts[i]-first.counts[i]))/d.Seconds() + 0.5)
	}
	return perSecond
}
