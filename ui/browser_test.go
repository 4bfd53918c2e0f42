//go:build browser

package ui

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// The tests with this tag run the pages in a real Chromium and hold them to
// axe-core. PIZZAMILL_TEST_CHROMIUM is its path where it is not on the PATH,
// PIZZAMILL_TEST_AXE that of axe.min.js. With PIZZAMILL_TEST_PICTURES set to a
// folder, a picture of each state of each page is left there.

// patience is how long a test waits for a page at most.
const patience = 30 * time.Second

func chromiumPath(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("PIZZAMILL_TEST_CHROMIUM"); path != "" {
		return path
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("browser tests need Chromium: install it (Debian: apt-get install chromium) or set PIZZAMILL_TEST_CHROMIUM to its path")
	return ""
}

func axeSource(t *testing.T) string {
	t.Helper()
	path := os.Getenv("PIZZAMILL_TEST_AXE")
	if path == "" {
		t.Fatal("browser tests need axe-core: set PIZZAMILL_TEST_AXE to the path of axe.min.js, or run make test-browser, which fetches it")
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}

// tab is a page of a browser of its own.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu      sync.Mutex
	console []string // errors and warnings, and what was not caught
}

// observer sums up layout shifts, those that follow an input too.
const observer = `window.shifts = []; new PerformanceObserver((list) => {
	for (const e of list.getEntries()) window.shifts.push({value: e.value, what: e.sources.map((s) => (s.node?.outerHTML ?? s.node?.textContent ?? '').slice(0, 80))});
}).observe({type: 'layout-shift', buffered: true});`

func openTab(t *testing.T) *tab {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromiumPath(t)), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx}
	if err := chromedp.Do(ctx); err != nil { // starts the browser, which lives as long as this context
		t.Fatalf("start Chromium: %v", err)
	}
	listened := make(chan struct{})
	messages := chromedp.Console(ctx)
	go func() {
		defer close(listened)
		for m, err := range messages {
			if err != nil {
				return
			}
			if m.Type == chromedp.ConsoleError || m.Type == chromedp.ConsoleWarning || m.Type == chromedp.ConsoleException {
				b.mu.Lock()
				b.console = append(b.console, fmt.Sprintf("%s: %s (%s)", m.Type, m.Text, m.URL))
				b.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Logf("close browser: %v", err)
		}
		<-listened
	})
	call(b, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: observer})
	b.size(1280)
	return b
}

// call runs a command of the browser's protocol.
func call[P, R any](b *tab, cmd cdp.Command[P, R], params P) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, cmd, params); err != nil {
		b.t.Fatalf("%s: %v", cmd.Method, err)
	}
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%v\n%s", err, b.where())
	}
}

// eval returns the value of an expression, a promise's too.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v\n%s", cut(expression, 200), err, b.where())
	}
	return v
}

// wait waits until an expression is true, on the next page too.
func (b *tab) wait(expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	for {
		_, err := chromedp.Run(ctx, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(patience)))
		if err == nil {
			return
		}
		if ctx.Err() != nil { // any other error is a page that went while it was asked
			b.t.Fatalf("wait for %s: %v\n%s", expression, err, b.where())
		}
	}
}

// where says what the tab shows, for messages of failures.
func (b *tab) where() string {
	ctx, cancel := context.WithTimeout(b.ctx, 2*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body?.innerText.replace(/\\s+/g, ' ').slice(0, 600)`))
	return fmt.Sprint(text, err)
}

func (b *tab) open(url string) { b.t.Helper(); b.do(chromedp.Navigate(url)) }

func (b *tab) size(width int64) { b.t.Helper(); b.do(chromedp.EmulateViewport(width, 800)) }

// dark sets what the system prefers.
func (b *tab) dark(dark bool) {
	b.t.Helper()
	scheme := map[bool]string{true: "dark", false: "light"}[dark]
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme},
		{Name: "prefers-reduced-motion", Value: "reduce"},
	}})
}

// scripts allows or forbids the page's own script.
func (b *tab) scripts(allowed bool) {
	b.t.Helper()
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !allowed})
}

// keys types, and waits for what that may bring about.
func (b *tab) keys(keys string) { b.t.Helper(); b.do(chromedp.KeyEvent(keys)) }

// quiet checks that nothing was written to the console but what has one of the texts.
func (b *tab) quiet(except ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
next:
	for _, line := range b.console {
		for _, e := range except {
			if strings.Contains(line, e) {
				continue next
			}
		}
		b.t.Errorf("the console says %s", line)
	}
	b.console = nil
}

// shift sums up the layout shifts since the page was loaded.
func (b *tab) shift() (sum float64) {
	b.t.Helper()
	type shift struct {
		Value float64  `json:"value"`
		What  []string `json:"what"`
	}
	for _, s := range eval[[]shift](b, "window.shifts") {
		sum += s.Value
		if s.Value > 0.005 {
			b.t.Logf("shift of %.4f: %q", s.Value, s.What)
		}
	}
	return sum
}

// axe returns what axe-core finds on the page.
func (b *tab) axe(source string) []string {
	b.t.Helper()
	if !eval[bool](b, "typeof window.axe === 'object'") {
		eval[bool](b, source+"; true")
	}
	report := eval[string](b, `axe.run(document, {
		runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22a', 'wcag22aa', 'best-practice'],
		resultTypes: ['violations'],
	}).then((r) => JSON.stringify(r.violations.map((v) => v.id + ' (' + v.impact + '): ' + v.nodes.map((n) => n.html.slice(0, 200)).join(' ... '))))`)
	var found []string
	if err := json.Unmarshal([]byte(report), &found); err != nil {
		b.t.Fatalf("axe says %q: %v", report, err)
	}
	return found
}

var scriptTag = regexp.MustCompile(`<script[^>]*></script>`)

// stories serves every state of every page, with streams that say nothing. With
// ?script=off the pages are what a browser without script has: axe itself could
// not run in one.
func stories(t *testing.T) (base string, names []string) {
	k := newKitchen(t)
	book := storybook(t)
	rendered := map[string]string{}
	for name, p := range book {
		names = append(names, name)
		rendered[name] = renderText(t, p)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		html, ok := rendered[strings.TrimPrefix(r.URL.Path, "/story/")]
		switch {
		case ok:
			if cookie, err := r.Cookie("theme"); err == nil {
				html = strings.Replace(html, `<html lang="en"`, `<html lang="en" data-theme="`+cookie.Value+`"`, 1)
			}
			if r.FormValue("script") == "off" {
				html = scriptTag.ReplaceAllString(html, "")
			}
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprint(w, html)
		case strings.HasSuffix(r.URL.Path, "/live"):
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, ": nothing\n\n")
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		default:
			k.Main.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	slices.Sort(names)
	return srv.URL + "/story/", names
}
