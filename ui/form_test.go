package ui

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/pizzamill/pizzamill/platform/httpserver"
)

var keyField = regexp.MustCompile(`name="key" value="([^"]+)"`)

func formKey(t *testing.T, a answer) string {
	t.Helper()
	m := keyField.FindStringSubmatch(a.Text)
	if m == nil {
		t.Fatalf("the form has no key:\n%s", a.Text)
	}
	return m[1]
}

func TestFormPlacesAnOrder(t *testing.T) {
	k := newKitchen(t)
	page := get(k.Main, "/")
	page.want(t, 200, "From 1 to 1,000, each one random.", `value="12"`)
	if got := page.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("the form's page is cached: %q", got)
	}
	a := postForm(k.Main, "count", "12", "key", formKey(t, page))
	a.want(t, http.StatusSeeOther)
	if to := a.Header.Get("Location"); !strings.HasPrefix(to, "/orders/") {
		t.Fatalf("sent to %q", to)
	}
	get(k.Main, a.Header.Get("Location")).want(t, 200, "0 of 12 complete")
	if n := k.ordered(); n != 12 {
		t.Errorf("%d pizzas ordered, want 12", n)
	}
}

// TestTwoClicksAreOneOrder, also when they arrive at once.
func TestTwoClicksAreOneOrder(t *testing.T) {
	k := newKitchen(t)
	key := formKey(t, get(k.Main, "/"))
	var wg sync.WaitGroup
	to := make([]string, 8)
	for i := range to {
		wg.Go(func() { to[i] = postForm(k.Main, "count", "3", "key", key).Header.Get("Location") })
	}
	wg.Wait()
	for _, got := range to {
		if got == "" || got != to[0] {
			t.Errorf("clicks led to %q", to)
		}
	}
	if n := k.ordered(); n != 3 {
		t.Errorf("%d pizzas ordered, want 3", n)
	}
}

// TestChangedFormIsAnotherOrder: someone goes back without script, changes the
// count and sends the same form again.
func TestChangedFormIsAnotherOrder(t *testing.T) {
	k := newKitchen(t)
	first := postForm(k.Main, "count", "3", "key", "abc")
	second := postForm(k.Main, "count", "4", "key", "abc")
	second.want(t, http.StatusSeeOther)
	if first.Header.Get("Location") == second.Header.Get("Location") {
		t.Error("another count gave the same order")
	}
}

func TestEachFormHasItsOwnKey(t *testing.T) {
	k := newKitchen(t)
	if a, b := formKey(t, get(k.Main, "/")), formKey(t, get(k.Main, "/")); a == b {
		t.Errorf("two forms have the key %q", a)
	}
	// Whoever posts without a key, or with one that cannot be ours, orders each time.
	for _, key := range []string{"", "with space", strings.Repeat("x", 200)} {
		a, b := postForm(k.Main, "count", "1", "key", key), postForm(k.Main, "count", "1", "key", key)
		a.want(t, http.StatusSeeOther)
		if a.Header.Get("Location") == b.Header.Get("Location") {
			t.Errorf("key %q: two orders are one", key)
		}
	}
}

func TestWrongCounts(t *testing.T) {
	k := newKitchen(t)
	for count, wrong := range map[string]string{
		"":                      "Type a number from 1 to 1,000.",
		"x":                     "Type a number from 1 to 1,000.",
		"1e2":                   "Type a number from 1 to 1,000.",
		"+3":                    "Type a number from 1 to 1,000.",
		"1,5":                   "Type a number from 1 to 1,000.",
		"0x10":                  "Type a number from 1 to 1,000.",
		"٣":                     "Type a number from 1 to 1,000.",
		"0":                     "Order at least 1 pizza.",
		"000":                   "Order at least 1 pizza.",
		"-1":                    "Order at least 1 pizza.",
		"-1.5":                  "Order at least 1 pizza.",
		"0.5":                   "Order at least 1 pizza.",
		"1.5":                   "Order whole pizzas: 1 or 2, not 1.5.",
		"3.0":                   "Order whole pizzas: 3, not 3.0.",
		"1000.5":                "The limit is 1,000 pizzas an order. Split it into several.",
		"1001":                  "The limit is 1,000 pizzas an order. Split it into several.",
		"1000000000":            "The limit is 1,000 pizzas an order. Split it into several.",
		strings.Repeat("9", 39): "The limit is 1,000 pizzas an order. Split it into several.",
	} {
		a := postForm(k.Main, "count", count, "key", "abc")
		a.want(t, http.StatusBadRequest, wrong, `aria-invalid="true"`, "autofocus", `type="text"`, `aria-describedby="count-hint count-error"`,
			`value="`+count+`"`, `name="key" value="abc"`, "<title>Error: order")
	}
	postForm(k.Main, "count", `"><script>`).want(t, http.StatusBadRequest, `value="&#34;&gt;&lt;script&gt;"`)
	if n := k.ordered(); n != 0 {
		t.Errorf("%d pizzas were ordered", n)
	}
}

func TestPlainCounts(t *testing.T) {
	for s, want := range map[string]int{"1": 1, "1000": 1000, "007": 7} {
		if n, wrong := parseCount(s, 1000); n != want || wrong != "" {
			t.Errorf("parseCount(%q) = %d, %q", s, n, wrong)
		}
	}
	if _, wrong := parseCount("2", 1); wrong != "The limit is 1 pizza an order. Split it into several." {
		t.Error(wrong)
	}
}

func TestFormIsPresetByAddress(t *testing.T) {
	k := newKitchen(t)
	get(k.Main, "/?count=100").want(t, 200, `value="100"`, `<a href="/?count=100" aria-current="true">`)
	get(k.Main, "/?count=x").want(t, 200, `value="12"`)
}

func TestFormThatIsNone(t *testing.T) {
	k := newKitchen(t)
	send := func(kind, body string) answer {
		r := httptest.NewRequest(http.MethodPost, "/orders", strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		return ask(k.Main, r)
	}
	send("application/json", `{"count":3}`).want(t, http.StatusUnsupportedMediaType)
	send("", "count=3").want(t, http.StatusUnsupportedMediaType)
	send("application/x-www-form-urlencoded", "count=%zz").want(t, http.StatusBadRequest)
	send("application/x-www-form-urlencoded", "count=3&x="+strings.Repeat("x", formBytes)).want(t, http.StatusRequestEntityTooLarge)
	if n := k.ordered(); n != 0 {
		t.Errorf("%d pizzas were ordered", n)
	}
}

// TestStoreIsDown: the count stays in the form, and so does its key.
func TestStoreIsDown(t *testing.T) {
	k := newKitchen(t)
	if err := k.ledger.Close(); err != nil {
		t.Fatal(err)
	}
	a := postForm(k.Main, "count", "7", "key", "abc")
	a.want(t, http.StatusServiceUnavailable, "Your order was not taken.", `role="alert"`, "Order 7 again", `value="7"`, `name="key" value="abc"`)
	if a.Header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	if err := k.db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/orders", "/orders/x", "/pizzas/x-1", "/live", "/orders/x/live"} {
		a := get(k.Main, path)
		a.want(t, http.StatusServiceUnavailable, "The store cannot be read.")
		if a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: 503 without Retry-After", path)
		}
	}
	get(k.Main, "/").want(t, http.StatusServiceUnavailable, "How many pizzas?")
}

// TestNoOrderDuringShutdown sends a form over a connection that is open while
// the server stops.
func TestNoOrderDuringShutdown(t *testing.T) {
	k := newKitchen(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	arrived := make(chan struct{})
	srv := httpserver.NewServer(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-httpserver.Stopping(r.Context())
		k.Main.ServeHTTP(w, r)
	}), k.main.log)
	served := make(chan error, 1)
	go func() { served <- srv.Serve() }()
	status := make(chan int, 1)
	go func() {
		res, err := http.Post("http://"+srv.Addr()+"/orders", "application/x-www-form-urlencoded", strings.NewReader("count=3"))
		if err != nil {
			t.Error(err)
			status <- 0
			return
		}
		_ = res.Body.Close()
		status <- res.StatusCode
	}()
	<-arrived
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if got := <-status; got != http.StatusServiceUnavailable {
		t.Errorf("status %d, want 503", got)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if n := k.ordered(); n != 0 {
		t.Errorf("%d pizzas were ordered", n)
	}
}
