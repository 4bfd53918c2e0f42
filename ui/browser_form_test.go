//go:build browser

package ui

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"
)

// TestKeyboard walks through the ordering page by Tab, and orders by Enter.
func TestKeyboard(t *testing.T) {
	k := newKitchen(t)
	base := k.serve()
	k.finish(k.place(1), 1)
	b := openTab(t)
	t.Cleanup(func() { b.open("about:blank") })
	b.open(base + "/")
	const name = `(() => { const e = document.activeElement; return e.ariaLabel ?? (e.labels?.[0] ?? e).textContent.trim(); })()`
	var got []string
	for range 15 {
		b.keys(kb.Tab)
		got = append(got, eval[string](b, name))
	}
	want := []string{
		"Skip to the content", "pizzamill", "Order", "All orders", "Dark theme",
		"One pizza fewer", "How many pizzas?", "One pizza more", "1", "3", "12", "100", "Order 12 pizzas",
	}
	if diff := cmp.Diff(want, got[:len(want)]); diff != "" {
		t.Errorf("order of focus (-want +got):\n%s", diff)
	}
	if !strings.HasSuffix(got[13], "-1") || got[14] != "All orders" {
		t.Errorf("then the last pizza and the list, got %q", got[13:])
	}
	b.open(base + "/")
	b.keys(kb.Tab + kb.Enter)
	if at := eval[string](b, `document.activeElement.id`); at != "main" {
		t.Errorf("the skip link leads to %q", at)
	}
	b.do(chromedp.Focus("#count"))
	b.keys(kb.ArrowUp)
	if got := eval[string](b, `document.querySelector('.primary').textContent`); got != "Order 13 pizzas" {
		t.Errorf("after an arrow key the button says %q", got)
	}
	b.keys(kb.Enter)
	b.wait(headline + ` === '0 of 13 complete'`)
	b.quiet()
}

func TestStepperAndQuickChoices(t *testing.T) {
	k := newKitchen(t)
	base := k.serve()
	b := openTab(t)
	t.Cleanup(func() { b.open("about:blank") })
	b.open(base + "/")
	for _, step := range []struct{ click, count, button string }{
		{`[data-step="1"]`, "13", "Order 13 pizzas"},
		{`.quick li:nth-child(1) a`, "1", "Order 1 pizza"},
		{`[data-step="-1"]`, "1", "Order 1 pizza"},
		{`.quick li:nth-child(4) a`, "100", "Order 100 pizzas"},
	} {
		b.do(chromedp.Click(step.click))
		if got := eval[string](b, `count.value + ' ' + document.querySelector('.primary').textContent`); got != step.count+" "+step.button {
			t.Errorf("after %s: %s", step.click, got)
		}
	}
	if got := eval[string](b, `document.querySelector('.quick [aria-current]').textContent`); got != "100" {
		t.Errorf("marked as chosen: %s", got)
	}
	b.quiet()
}

// TestWrongCountInTheBrowser: the error is under the field and has the focus.
func TestWrongCountInTheBrowser(t *testing.T) {
	k := newKitchen(t)
	base := k.serve()
	b := openTab(t)
	t.Cleanup(func() { b.open("about:blank") })
	for _, script := range []bool{true, false} {
		b.scripts(script)
		b.open(base + "/")
		b.do(chromedp.SetValue("#count", "1.5"), chromedp.Submit("#count"), chromedp.WaitReady("#count[aria-invalid]"))
		for what, want := range map[string]string{
			`document.activeElement.id`:                              "count",
			`document.getElementById('count').value`:                 "1.5",
			`document.getElementById('count-error').innerText`:       "Order whole pizzas: 1 or 2, not 1.5.",
			`document.getElementById('count').ariaInvalid`:           "true",
			`document.querySelectorAll('#count-error .icon').length`: "1",
		} {
			if got := eval[string](b, "String("+what+")"); got != want {
				t.Errorf("script %v: %s is %q, want %q", script, what, got, want)
			}
		}
	}
	b.scripts(true)
}

// TestWithoutScript orders in a browser that runs none.
func TestWithoutScript(t *testing.T) {
	k := newKitchen(t)
	base := k.serve()
	b := openTab(t)
	b.scripts(false)
	b.open(base + "/")
	for what, want := range map[string]string{
		`document.querySelector('.primary').textContent`:                                        "Order pizzas",
		`[...document.querySelectorAll('.needs-js')].filter((e) => e.checkVisibility()).length`: "0",
	} {
		if got := eval[string](b, "String("+what+")"); got != want {
			t.Errorf("%s is %q, want %q", what, got, want)
		}
	}
	b.do(chromedp.Click(".quick li:nth-child(2) a"), chromedp.WaitReady(`.quick a[href="/?count=3"][aria-current]`), chromedp.Click(".primary"), chromedp.WaitReady("#totals"))
	if got := eval[string](b, headline); got != "0 of 3 complete" {
		t.Fatalf("the headline says %q", got)
	}
	id := eval[string](b, `location.pathname.split('/').pop()`)
	k.finish(id, 1)
	b.do(chromedp.Click("a.no-js"), chromedp.WaitReady(`#pizza-1[data-state=complete]`))
	if got := eval[string](b, headline); got != "1 of 3 complete" {
		t.Errorf("after Refresh the headline says %q", got)
	}
	b.scripts(true)
	b.do(chromedp.Reload())
	if eval[bool](b, `document.querySelector('a.no-js').checkVisibility()`) {
		t.Error("with script there is a Refresh link")
	}
	b.open("about:blank")
}

// TestFormOneComesBackTo has a key of its own.
func TestFormOneComesBackTo(t *testing.T) {
	k := newKitchen(t)
	base := k.serve()
	b := openTab(t)
	t.Cleanup(func() { b.open("about:blank") })
	b.open(base + "/")
	const key = `document.querySelector('[name=key]').value`
	first := eval[string](b, key)
	b.do(chromedp.Click(".primary"))
	b.wait(headline + ` === '0 of 12 complete'`)
	b.do(chromedp.NavigateBack())
	b.wait(`document.querySelector('[name=key]') !== null`)
	b.wait(key + ` !== '` + first + `'`)
	b.do(chromedp.Click(".primary"))
	b.wait(headline + ` === '0 of 12 complete'`)
	if n := k.ordered(); n != 24 {
		t.Errorf("%d pizzas ordered in two visits, want 24", n)
	}
}

// TestThemeToggle: a click turns the page dark, and the server keeps it so.
func TestThemeToggle(t *testing.T) {
	k := newKitchen(t)
	base := k.serve()
	b := openTab(t)
	t.Cleanup(func() { b.open("about:blank") })
	b.dark(false)
	b.open(base + "/orders")
	const look = `[document.documentElement.dataset.theme ?? '', document.querySelector('.theme-toggle').ariaPressed, getComputedStyle(document.body).backgroundColor].join(' ')`
	light, dark := "rgb(243, 240, 231)", "rgb(22, 19, 16)"
	check := func(when, want string) {
		t.Helper()
		if got := eval[string](b, look); got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
	check("at first", " false "+light)
	b.do(chromedp.Click(".theme-toggle"))
	check("after a click", "dark true "+dark)
	b.open(base + "/")
	check("on the next page", "dark true "+dark)
	b.do(chromedp.Click(".theme-toggle"))
	check("after another", "light false "+light)
	b.dark(true)
	check("whatever the system says", "light false "+light)
	b.quiet()
}
