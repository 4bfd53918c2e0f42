//go:build browser

package ui

import (
	"context"
	"fmt"
	"image/png"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"github.com/pizzamill/pizzamill/modules"
	"github.com/pizzamill/pizzamill/platform/app"
	"github.com/pizzamill/pizzamill/platform/config"
)

// runPizzamill runs the whole program as users do, with stages slow enough to watch.
func runPizzamill(t *testing.T) string {
	t.Helper()
	c := config.Default()
	c.HTTP.Listen, c.Admin.Listen = "127.0.0.1:0", "127.0.0.1:0"
	c.Store.Path = filepath.Join(t.TempDir(), "pizzamill.db")
	c.Faults.Delay = map[string]time.Duration{
		"sauce": 150 * time.Millisecond, "cheese": 300 * time.Millisecond, "meat": 250 * time.Millisecond, "veggies": 350 * time.Millisecond,
	}
	ctx, stop := context.WithCancel(context.Background())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- app.Run(ctx, app.Options{
			Config: c, Modules: append(modules.All(), Module), Log: slog.New(slog.DiscardHandler),
			Ready: func(main, _ string) { ready <- main },
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("pizzamill ended with: %v", err)
		}
	})
	select {
	case addr := <-ready:
		return "http://" + addr
	case err := <-ended:
		ended <- err
		t.Fatalf("pizzamill did not start: %v", err)
		return ""
	}
}

const (
	headline = `document.querySelector('h1').textContent`
	// settled is what the page shows of the order, without what is the script's
	// own, and without the times of steps: one that the journal saw late has its
	// own time on a fresh page, and in the stream that of the step behind it.
	settled = `[document.querySelector('#totals'), document.querySelector('.pizza-cards'), document.querySelector('.events')]
		.map((e) => { const c = e.cloneNode(true); c.querySelectorAll('.just-in').forEach((j) => j.removeAttribute('class')); c.querySelectorAll('.tape time').forEach((t) => t.remove()); return c.innerHTML.replaceAll(' class=""', ''); }).join('\n')`
)

// TestDozenCooksLive orders 12 pizzas as people do and watches them: every card
// completes, nothing jumps, the console stays empty, and what the script has
// made of the page is what the server would send by now.
func TestDozenCooksLive(t *testing.T) {
	base := runPizzamill(t)
	b := openTab(t)
	for _, width := range []int64{1280, 360} {
		b.size(width)
		b.open(base + "/")
		b.wait(`document.getElementById('connection').textContent === 'Live'`)
		if got := eval[string](b, `document.querySelector('.primary').textContent`); got != "Order 12 pizzas" {
			t.Errorf("the button says %q", got)
		}
		b.do(chromedp.Click(".primary"))
		b.wait(headline + ` === '12 of 12 complete'`)
		b.wait(`document.getElementById('connection').textContent === 'Finished'`)
		if sum := b.shift(); sum >= 0.1 {
			t.Errorf("at %d px the layout shifted by %.3f, want less than 0.1", width, sum)
		} else {
			t.Logf("at %d px the layout shifted by %.4f", width, sum)
		}
		for what, want := range map[string]string{
			`document.querySelectorAll('.pizza-card[data-state=complete]').length`: "12",
			`document.querySelectorAll('.tape li').length`:                         "72",
			`document.querySelectorAll('.tape .just-in').length > 0`:               "true",
			`document.querySelectorAll('.pizza use.just-in').length > 0`:           "true",
			`document.querySelector('#event-count').textContent`:                   "72 so far",
			`document.querySelector('#announce').textContent`:                      "12 of 12 pizzas complete",
			`document.title.startsWith('12 of 12 complete, order ')`:               "true",
			`document.querySelectorAll('.steps .done').length`:                     "60",
		} {
			if got := eval[string](b, "String("+what+")"); got != want {
				t.Errorf("at %d px %s is %s, want %s", width, what, got, want)
			}
		}
		b.wait(`document.querySelector('.feeding') === null`) // the tape has stopped moving
		live := eval[string](b, settled)
		b.do(chromedp.Reload())
		if fresh := eval[string](b, settled); fresh != live {
			t.Errorf("the live page differs from a fresh one (-fresh +live):\n%s", cmp.Diff(lines(fresh), lines(live)))
		}
	}
	b.open(base + "/")
	b.wait(`document.querySelector('#sum').textContent.startsWith('24 ordered, 24 complete, 0 on the line')`)
	b.quiet()
}

// TestLargeOrderIsLive orders more than are shown as cards: the totals, the table
// by stage and the pictures of the page become what the server would send.
func TestLargeOrderIsLive(t *testing.T) {
	base := runPizzamill(t)
	b := openTab(t)
	b.size(1280)
	b.open(base + "/?count=150")
	b.do(chromedp.Click(".primary"))
	b.wait(headline + ` === '150 of 150 complete'`)
	b.wait(`document.getElementById('connection').textContent === 'Finished'`)
	const parts = `['totals', 'pace', 'stage-table', 'tray'].map((id) => {
		const c = document.getElementById(id).cloneNode(true);
		c.querySelectorAll('.just-in').forEach((j) => j.removeAttribute('class'));
		return c.innerHTML.replaceAll(/ class=""|\s+/g, ' ');
	}).join('\n')`
	live := eval[string](b, parts)
	b.do(chromedp.Reload())
	if fresh := eval[string](b, parts); fresh != live {
		t.Errorf("the live page differs from a fresh one (-fresh +live):\n%s", cmp.Diff(lines(fresh), lines(live)))
	}
	b.quiet()
}

// TestOrderingPageStaysInPlace watches the ordering page while an order cooks.
func TestOrderingPageStaysInPlace(t *testing.T) {
	base := runPizzamill(t)
	b := openTab(t)
	for range 5 { // so that the list of recent orders is full
		order(t, base, 1)
	}
	b.open(base + "/")
	b.wait(`document.getElementById('sum').textContent.startsWith('5 ordered, 5 complete')`)
	order(t, base, 12)
	b.wait(`!document.getElementById('stations').hasAttribute('data-idle')`)
	b.wait(`document.getElementById('sum').textContent.startsWith('17 ordered, 17 complete')`)
	if sum := b.shift(); sum >= 0.02 {
		t.Errorf("the layout shifted by %.4f", sum)
	}
	b.quiet()
}

func order(t *testing.T, base string, count int) {
	t.Helper()
	res, err := http.Post(base+"/orders", "application/x-www-form-urlencoded", strings.NewReader(fmt.Sprint("count=", count)))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	http.DefaultClient.CloseIdleConnections()
}

// TestFocusStays on a card that changes; and the tape keeps 200 lines.
func TestFocusStays(t *testing.T) {
	k := newKitchen(t)
	base := k.serve()
	id := k.place(60)
	for n := 1; n <= 30; n++ {
		k.advance(id, n, "pizza", "sauce=pesto")
	}
	b := openTab(t)
	t.Cleanup(func() { b.open("about:blank") })
	b.open(base + "/orders/" + id)
	b.wait(`document.getElementById('connection').textContent === 'Live'`)
	b.do(chromedp.Focus("#pizza-3 a"))
	for n := 1; n <= 30; n++ {
		k.advance(id, n, "pizza", "sauce=pesto", "cheese=burrata", "meat=ham", "veggies=basil")
	}
	for n := 31; n <= 60; n++ {
		k.finish(id, n)
	}
	b.wait(headline + ` === '60 of 60 complete'`)
	for what, want := range map[string]string{
		`document.activeElement.closest('li').id`:                 "pizza-3",
		`document.querySelector('#pizza-3 .state').textContent`:   "complete",
		`document.querySelectorAll('#tape-lines li').length`:      "200",
		`document.querySelector('#event-count span').textContent`: "360",
	} {
		if got := eval[string](b, "String("+what+")"); got != want {
			t.Errorf("%s is %s, want %s", what, got, want)
		}
	}
	b.quiet()
}

// TestTapeKeepsItsPlace: what someone has scrolled to stays where it is.
func TestTapeKeepsItsPlace(t *testing.T) {
	k := newKitchen(t)
	base := k.serve()
	id := k.place(20)
	for n := 1; n <= 19; n++ {
		k.advance(id, n, "pizza", "sauce=pesto")
	}
	b := openTab(t)
	t.Cleanup(func() { b.open("about:blank") })
	b.open(base + "/orders/" + id)
	b.wait(`document.getElementById('connection').textContent === 'Live'`)
	const y = `read.getBoundingClientRect().y - tape.getBoundingClientRect().y`
	before := eval[float64](b, `tape.scrollTop = 300; window.read = document.querySelectorAll('#tape-lines li')[9]; `+y)
	k.finish(id, 20)
	b.wait(`document.querySelectorAll('#tape-lines li').length === 44`)
	if after := eval[float64](b, y); after < before-1 || after > before+1 {
		t.Errorf("the line someone reads moved from %.0f to %.0f px", before, after)
	}
	eval[any](b, `tape.scrollTop = 0; 1`)
	k.finish(id, 1)
	b.wait(`document.querySelectorAll('#tape-lines li').length > 44 && tape.scrollTop === 0`) // at its top it feeds
}

// TestStreamIsLetGo: a page holds one stream, none while it is hidden, and none
// when its order is done; and it misses nothing.
func TestStreamIsLetGo(t *testing.T) {
	k := newKitchen(t)
	var open, most, refuse atomic.Int64
	closed := make(chan struct{}, 100)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/live") {
			k.Main.ServeHTTP(w, r)
			return
		}
		if refuse.Load() > 0 {
			refuse.Add(-1)
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		most.Store(max(most.Load(), open.Add(1)))
		k.Main.ServeHTTP(w, r)
		open.Add(-1)
		closed <- struct{}{}
	}))
	t.Cleanup(srv.Close)
	id := k.place(4)
	b := openTab(t)
	t.Cleanup(func() { b.open("about:blank") })
	b.open(srv.URL + "/orders/" + id)
	b.wait(`document.getElementById('connection').textContent === 'Live'`)

	hide := func(hidden bool) {
		eval[any](b, fmt.Sprintf(`Object.defineProperty(document, 'hidden', {configurable: true, get: () => %v}); document.dispatchEvent(new Event('visibilitychange')); 1`, hidden))
	}
	hide(true)
	<-closed
	k.finish(id, 1)
	hide(false)
	b.wait(headline + ` === '1 of 4 complete'`)

	// Answers that are no stream: the page tries again, and says so meanwhile.
	refuse.Store(2)
	srv.CloseClientConnections()
	<-closed
	b.wait(`document.getElementById('connection').dataset.state === 'reconnecting'`)
	k.finish(id, 2)
	k.finish(id, 3)
	b.wait(headline + ` === '3 of 4 complete'`)
	b.wait(`document.getElementById('connection').textContent === 'Live'`)

	k.finish(id, 4)
	b.wait(headline + ` === '4 of 4 complete'`)
	<-closed
	if n := eval[int](b, `document.querySelectorAll('#tape-lines li').length`); n != 24 {
		t.Errorf("%d lines on the tape, want 24", n)
	}
	if n := most.Load(); n != 1 {
		t.Errorf("%d streams at once, want 1", n)
	}
	b.quiet("503", "ERR_INCOMPLETE", "ERR_EMPTY", "ERR_CONNECTION")
}

// TestPicturesAreDrawn looks at the pixels: the symbols come from a file of their own.
func TestPicturesAreDrawn(t *testing.T) {
	k := newKitchen(t)
	base := k.serve()
	id := k.place(1)
	k.finish(id, 1)
	b := openTab(t)
	b.open(base + "/pizzas/" + id + "-1")
	shot, err := chromedp.Run(b.ctx, chromedp.Screenshot(".hero .pizza"))
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(strings.NewReader(string(shot)))
	if err != nil {
		t.Fatal(err)
	}
	counts := map[[3]uint32]int{}
	for y := img.Bounds().Min.Y; y < img.Bounds().Max.Y; y++ {
		for x := img.Bounds().Min.X; x < img.Bounds().Max.X; x++ {
			r, g, bl, _ := img.At(x, y).RGBA()
			counts[[3]uint32{r >> 8, g >> 8, bl >> 8}]++
		}
	}
	for what, color := range map[string][3]uint32{
		"crust": {0xdc, 0x9a, 0x4c}, "tomato sauce": {0xcf, 0x3b, 0x22}, "burrata": {0xff, 0xfb, 0xf1}, "prosciutto": {0xe3, 0x95, 0x8d}, "basil": {0x3c, 0x8f, 0x43},
	} {
		if counts[color] < 50 {
			t.Errorf("%d pixels of %s", counts[color], what)
		}
	}
	b.quiet()
}

// lines breaks HTML at its tags, so that a difference is a line.
func lines(html string) []string { return strings.SplitAfter(html, ">") }
