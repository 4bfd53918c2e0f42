//go:build browser

package ui

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/module"
	"github.com/pizzamill/pizzamill/platform/store"
)

const (
	said    = `document.getElementById('outage').innerText`
	headers = `document.getElementById('connection').textContent`
	floats  = `getComputedStyle(document.querySelector('#outage .notice')).position === 'fixed'`
)

// TestLineIsPausedLive: the broker goes while a page is open, and comes back.
// Nothing on the page moves for it.
func TestLineIsPausedLive(t *testing.T) {
	k := newKitchen(t)
	base := k.serve()
	id := k.place(12)
	b := openTab(t)
	t.Cleanup(func() { b.open("about:blank") })
	for width, paths := range map[int64][]string{1280: {"/", "/orders/" + id}, 360: {"/orders", "/pizzas/" + id + "-1"}} {
		b.size(width)
		for _, path := range paths {
			b.open(base + path)
			b.wait(headers + ` === 'Live'`)
			k.outage.Store(&module.Outage{Since: today("00:00:00")})
			b.wait(said + `.startsWith('The line is paused: Kafka cannot be reached since 00:00:00. 12 pizzas are safe')`)
			b.wait(headers + ` === 'Paused'`)
			if !eval[bool](b, floats) {
				t.Errorf("%s at %d px: the notice is in the flow of a page that has begun", path, width)
			}
			k.outage.Store(nil)
			b.wait(said + `.startsWith('The line runs again.')`)
			b.wait(headers + ` === 'Live'`)
			if sum := b.shift(); sum > 0.001 {
				t.Errorf("%s at %d px: the layout shifted by %.4f", path, width, sum)
			}
		}
	}
	b.wait(said + ` === ''`) // good news goes
	b.quiet()
}

// TestLineWasPausedBefore the page was rendered: the notice stands in its flow,
// and so do the good news, which take no less room.
func TestLineWasPausedBefore(t *testing.T) {
	k := newKitchen(t)
	base := k.serve()
	id := k.place(12)
	done := k.place(1)
	k.finish(done, 1)
	b := openTab(t)
	t.Cleanup(func() { b.open("about:blank") })
	for width, paths := range map[int64]map[string]string{1280: {"/": "Live", "/orders/" + done: "Finished"}, 360: {"/orders": "Live", "/orders/" + id: "Live"}} {
		b.size(width)
		for path, after := range paths {
			k.outage.Store(&module.Outage{Since: today("00:00:00")})
			b.open(base + path)
			b.wait(headers + ` === 'Paused'`)
			if eval[bool](b, floats) {
				t.Errorf("%s at %d px: the notice is not in the flow of the page", path, width)
			}
			k.outage.Store(nil)
			b.wait(said + `.startsWith('The line runs again.')`)
			b.wait(headers + ` === '` + after + `'`)
			if sum := b.shift(); sum > 0.001 {
				t.Errorf("%s at %d px: the layout shifted by %.4f", path, width, sum)
			}
		}
	}
	b.quiet()
}

// TestServerIsAwayWithoutNetwork: a machine without network still has its own
// server. The page says what is true, and comes back.
func TestServerIsAwayWithoutNetwork(t *testing.T) {
	k := newKitchen(t)
	var away atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if away.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		k.Main.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	b := openTab(t)
	t.Cleanup(func() { b.open("about:blank") })
	b.open(srv.URL + "/orders/" + k.place(1))
	b.wait(headers + ` === 'Live'`)
	eval[any](b, `Object.defineProperty(navigator, 'onLine', {get: () => false}); dispatchEvent(new Event('offline')); window.began = Date.now(); 1`)
	away.Store(true)
	srv.CloseClientConnections()
	b.wait(`!document.getElementById('reconnecting').hidden`)
	for what, want := range map[string]string{
		headers: "Reconnecting",
		`document.getElementById('offline').hidden`: "true",
		`Date.now() - began < 25_000`:               "true",
	} {
		if got := eval[string](b, "String("+what+")"); got != want {
			t.Errorf("%s is %s, want %s", what, got, want)
		}
	}
	away.Store(false)
	b.wait(headers + ` === 'Live'`)
	if !eval[bool](b, `document.getElementById('reconnecting').hidden`) {
		t.Error("the page is live, and says that it reconnects")
	}
}

// TestBackFromAnOrder to the answer to a wrong count: the browser has it still.
func TestBackFromAnOrder(t *testing.T) {
	k := newKitchen(t)
	base := k.serve()
	b := openTab(t)
	t.Cleanup(func() { b.open("about:blank") })
	for _, script := range []bool{true, false} {
		b.scripts(script)
		b.open(base + "/")
		b.do(chromedp.SetValue("#count", "1.5"), chromedp.Submit("#count"), chromedp.WaitReady("#count[aria-invalid]"))
		const key = `document.querySelector('[name=key]')?.value`
		used := eval[string](b, key)
		b.do(chromedp.SetValue("#count", "2"), chromedp.Submit("#count"), chromedp.WaitReady("#totals"))
		if err := chromedp.Do(b.ctx, chromedp.NavigateBack()); err != nil {
			t.Fatalf("script %v: back leads to %v", script, err)
		}
		b.wait(`document.querySelector('#count-error')?.innerText === 'Order whole pizzas: 1 or 2, not 1.5.'`)
		if script {
			b.wait(key + ` !== '` + used + `'`)
		}
	}
	b.scripts(true)
}

// TestTitleFollowsTheHeadline, whatever a foreign stage has put on the pizza.
func TestTitleFollowsTheHeadline(t *testing.T) {
	k := newKitchen(t)
	base := k.serve()
	id := k.place(1)
	pizza := event.PizzaID{Order: id, Number: 1}
	put := func(on ...string) {
		t.Helper()
		body := event.New(pizza, 0)
		var facts []store.Fact
		for _, s := range on {
			stage, value, set := strings.Cut(s, "=")
			if set {
				body = body.With(stage, value)
			}
			facts = append(facts, store.Fact{Pizza: pizza, Step: stage, At: time.Now(), Body: body.Body()})
		}
		if _, err := k.ledger.Advance(t.Context(), facts); err != nil {
			t.Fatal(err)
		}
	}
	put("pizza", "sauce=\u202eotsep $& $'")
	b := openTab(t)
	t.Cleanup(func() { b.open("about:blank") })
	b.open(base + "/pizzas/" + pizza.String())
	b.wait(headers + ` === 'Live'`)
	put("pizza", "sauce=\u202eotsep $& $'", "cheese=brie\u202e")
	b.wait(`document.title === "otsep $& $', brie … · pizzamill"`)
	put("pizza", "sauce=\u202eotsep $& $'", "cheese=brie\u202e", "meat=ham")
	b.wait(`document.title === "otsep $& $', brie, ham … · pizzamill"`)
	if got := eval[int](b, `document.querySelectorAll('h1 bdi').length`); got != 2 {
		t.Errorf("%d values stand for themselves, want 2", got)
	}
	b.quiet()
}

// TestOnePizzaIsOneCardAcross.
func TestOnePizzaIsOneCardAcross(t *testing.T) {
	k := newKitchen(t)
	base := k.serve()
	b := openTab(t)
	t.Cleanup(func() { b.open("about:blank") })
	for _, c := range []struct{ count, across int }{{1, 1}, {2, 2}} {
		b.open(base + "/orders/" + k.place(c.count))
		const across = `Math.round(document.querySelector('.pizza-cards').clientWidth / document.querySelector('.pizza-card').offsetWidth)`
		if got := eval[int](b, across); got != c.across {
			t.Errorf("an order of %d: %d cards would stand side by side, want %d", c.count, got, c.across)
		}
	}
}
