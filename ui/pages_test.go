package ui

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

func TestPagesOfAnOrder(t *testing.T) {
	k := newKitchen(t)
	id := k.place(3)
	get(k.Main, "/orders/"+id).want(t, 200, "0 of 3 complete", "base-waiting", "Not on the line yet", `data-last="0"`, `data-live="/orders/`+id+`/live"`, "no-js")
	k.finish(id, 1)
	k.advance(id, 2, "pizza", "sauce=pesto")
	k.bury(id, 3, "sauce", "pizza")
	page := get(k.Main, "/orders/"+id)
	page.want(t, 200, "1 of 3 complete", "Tomato, burrata, prosciutto and basil", "Pesto …", "at cheese", "failed 5 times",
		"1 cooking", "0 waiting", "1 dead-lettered", `data-last="10"`, "/api/orders/"+id+"/events")
	get(k.Main, "/").want(t, 200, "<b>3</b> ordered", "<b>1</b> complete", "<b>1</b> on the line", "<b>1</b> dead-lettered", "Last out of the oven", "1 of 3 complete", "3<span")
	get(k.Main, "/orders").want(t, 200, id)
	get(k.Main, "/pizzas/"+id+"-1").want(t, 200, "Tomato, burrata, prosciutto and basil", "5 events", "pizza-with-veggies", id+"-1/sauce", "added")
	get(k.Main, "/pizzas/"+id+"-3").want(t, 200, "sauce failed 5 times: the ham is out", "dead-lettered")
	k.finish(id, 2)
	k.finish(id, 3)
	page = get(k.Main, "/orders/"+id)
	page.want(t, 200, "3 of 3 complete")
	if strings.Contains(page.Text, "data-live") {
		t.Error("a finished order opens a stream")
	}
}

// TestJournalSaysWhatIsInferred, and not of a foreign stage's own event, which
// need not say where it is from.
func TestJournalSaysWhatIsInferred(t *testing.T) {
	k := newKitchen(t)
	id := k.place(1)
	k.advance(id, 1, "pizza")
	pizza := event.PizzaID{Order: id, Number: 1}
	body := event.New(pizza, 0).With("sauce", "pesto").With("cheese", "brie").With("meat", "ham")
	errs, err := k.ledger.Advance(t.Context(), []store.Fact{
		{Pizza: pizza, Step: "sauce", At: time.Now(), Body: body.Without("cheese", "meat").Body()},
		{Pizza: pizza, Step: "meat", At: time.Now(), Source: "meat\u202e", Body: body.Body()},
	})
	if err := errors.Join(append(errs, err)...); err != nil {
		t.Fatal(err)
	}
	page := get(k.Main, "/pizzas/"+id+"-1")
	page.want(t, 200, "from pizza<", "no source given", "from <bdi>meat\u202e</bdi>")
	if n := strings.Count(page.Text, "inferred from a later event"); n != 1 {
		t.Errorf("%d events are inferred, want that of cheese", n)
	}
}

// TestTimelineEndsWithTheFailure of a dead-lettered pizza.
func TestTimelineEndsWithTheFailure(t *testing.T) {
	k := newKitchen(t)
	id := k.place(2)
	k.advance(id, 1, "pizza", "sauce=pesto")
	k.bury(id, 1, "cheese", "pizza-with-sauce")
	page := get(k.Main, "/pizzas/"+id+"-1")
	_, end, _ := strings.Cut(page.Text, `id="burnt"`)
	for _, want := range []string{"cheese: <em>failed 5 times</em>", "<time datetime=", "pizza-dead-letters", "the ham is out"} {
		if !strings.Contains(end, want) {
			t.Errorf("the end of the timeline does not say %q:\n%s", want, end)
		}
	}
	if strings.Contains(end, `id="event-`) {
		t.Error("the failure is not the last entry")
	}
	k.advance(id, 1, "pizza", "sauce=pesto", "cheese=brie", "meat=ham", "veggies=basil")
	if a := get(k.Main, "/pizzas/"+id+"-1"); strings.Contains(a.Text, "burnt\"") {
		t.Error("a complete pizza has a failure")
	}
}

// TestPaceIsThatOfACookingOrder: nothing is updated once all is done.
func TestPaceIsThatOfACookingOrder(t *testing.T) {
	k := newKitchen(t)
	id := k.place(101)
	get(k.Main, "/orders/"+id).want(t, 200, "updated twice a second")
	for n := 1; n <= 101; n++ {
		k.finish(id, n)
	}
	if a := get(k.Main, "/orders/"+id); strings.Contains(a.Text, "updated") {
		t.Error("a finished order is updated")
	}
}

func TestLargeOrders(t *testing.T) {
	k := newKitchen(t)
	id := k.place(500)
	k.finish(id, 1)
	k.finish(id, 60)
	k.bury(id, 70, "cheese", "pizza-with-sauce")
	get(k.Main, "/orders/"+id).want(t, 200, "By stage", "Pizzas 1 to 48", "all 500", "complete, 2", "in flight, 497", "dead-lettered, 1", `href="/orders/`+id+`?page=11"`)
	get(k.Main, "/orders/"+id+"?page=11").want(t, 200, "Pizzas 481 to 500")
	get(k.Main, "/orders/"+id+"?state=complete").want(t, 200, "Complete pizzas", `id="pizza-60"`)
	get(k.Main, "/orders/"+id+"?state=in_flight").want(t, 200, `state=in_flight&amp;after=49`)
	get(k.Main, "/orders/"+id+"?state=dead_lettered").want(t, 200, `id="pizza-70"`)
	get(k.Main, "/orders/"+id+"?state=dead_lettered&after=70").want(t, 200, "No pizza of this order is dead-lettered", "Show all 500")
	for _, q := range []string{"page=0", "page=12", "page=x", "state=burnt", "state=complete&after=501", "after=-1"} {
		get(k.Main, "/orders/"+id+"?"+q).want(t, 404, "No such page")
	}
}

func TestOrderOfAHundredHasCards(t *testing.T) {
	k := newKitchen(t)
	id := k.place(100)
	get(k.Main, "/orders/"+id).want(t, 200, "Every event", `id="pizza-48"`, `href="/orders/`+id+`?page=3"`)
	get(k.Main, "/orders/"+id+"?page=3").want(t, 200, `id="pizza-97"`, `id="pizza-100"`)
	get(k.Main, "/orders/"+id+"?state=complete").want(t, 404)
	get(k.Main, "/orders/"+k.place(101)).want(t, 200, "By stage")
}

func TestListIsPaged(t *testing.T) {
	k := newKitchen(t)
	first := k.place(1)
	for range orderRows {
		k.place(1)
	}
	page := get(k.Main, "/orders")
	page.want(t, 200, "Older orders")
	m := regexp.MustCompile(`/orders\?before=([^"]+)`).FindStringSubmatch(page.Text)
	if m == nil || strings.Contains(page.Text, first) {
		t.Fatal("the list has no second page")
	}
	get(k.Main, "/orders?before="+m[1]).want(t, 200, first, "Newest")
	get(k.Main, "/orders?before=%20").want(t, 404)
}

func TestPagesThatAreNot(t *testing.T) {
	k := newKitchen(t)
	id := k.place(3)
	for path, says := range map[string]string{
		"/orders/nobody":         "There is no order nobody.",
		"/orders/nobody%20else":  "No such order",
		"/orders/nobody/live":    "No such",
		"/pizzas/" + id + "-4":   "No such pizza",
		"/pizzas/" + id + "-0":   "No such pizza",
		"/pizzas/x":              "No such pizza",
		"/pizzas/x/live":         "No such pizza",
		"/static/style.css":      "No such page",
		"/nothing":               "No such page",
		"/orders/" + id + "/not": "No such page",
	} {
		a := get(k.Main, path)
		a.want(t, 404, says, "Order pizzas", "<h1>")
		if kind := a.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/html") {
			t.Errorf("%s: %s", path, kind)
		}
	}
	a := ask(k.Main, httptest.NewRequest(http.MethodDelete, "/orders/"+id, nil))
	a.want(t, http.StatusMethodNotAllowed, "Not like this", "GET, HEAD")
	if got := a.Header.Get("Allow"); got != "GET, HEAD" {
		t.Errorf("Allow: %q", got)
	}
	get(k.Main, "/orders/"+id+"/live?last_event_id=x").want(t, 400)
}

// TestLinksAreServed follows every link of every page of a listener, so that
// none leads to what only the other one has.
func TestLinksAreServed(t *testing.T) {
	k := newKitchen(t)
	id := k.place(200)
	k.finish(id, 1)
	small := k.place(60)
	k.finish(small, 1)
	links := regexp.MustCompile(`(?:href|src|action|data-live)="([^"#]*)`)
	for name, h := range map[string]http.Handler{"main": k.Main, "admin": k.Admin} {
		elsewhere := map[string]string{"main": "/api/", "admin": "/metrics"}[name] // of other modules
		seen := map[string]bool{}
		todo := []string{"/orders"}
		for len(todo) > 0 {
			path := todo[0]
			todo = todo[1:]
			if seen[path] || strings.HasPrefix(path, elsewhere) || strings.HasSuffix(path, "/live") || strings.Contains(path, "/live?") {
				continue
			}
			seen[path] = true
			a := get(h, path)
			if a.StatusCode != 200 {
				t.Errorf("%s: %s answers %d", name, path, a.StatusCode)
			}
			for _, m := range links.FindAllStringSubmatch(a.Text, -1) {
				to := strings.ReplaceAll(m[1], "&amp;", "&")
				if strings.HasPrefix(to, "?") {
					to, _, _ = strings.Cut(path, "?")
					to += strings.ReplaceAll(m[1], "&amp;", "&")
				}
				if to != "" {
					todo = append(todo, to)
				}
			}
		}
		for _, want := range []string{"/orders/" + id + "?page=5", "/pizzas/" + small + "-1", symbolURL} {
			if !seen[want] {
				t.Errorf("%s: no link to %s was found in %d pages", name, want, len(seen))
			}
		}
	}
}

func TestAdminHasNoForm(t *testing.T) {
	k := newKitchen(t)
	id := k.place(3)
	a := get(k.Admin, "/")
	if a.StatusCode != http.StatusFound || a.Header.Get("Location") != "/orders" {
		t.Errorf("/ answers %d to %q", a.StatusCode, a.Header.Get("Location"))
	}
	page := get(k.Admin, "/orders/"+id)
	page.want(t, 200, "0 of 3 complete", "/metrics")
	if strings.Contains(page.Text, "/api/") || strings.Contains(page.Text, `href="/"`) {
		t.Error("the admin page links to what the listener does not serve")
	}
	ask(k.Admin, httptest.NewRequest(http.MethodPost, "/orders", nil)).want(t, http.StatusMethodNotAllowed)
}

func TestThemeComesFromTheCookie(t *testing.T) {
	k := newKitchen(t)
	for cookie, want := range map[string]string{"": `<html lang="en">`, "dark": `<html lang="en" data-theme="dark">`, "light": `<html lang="en" data-theme="light">`, "x": `<html lang="en">`} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.AddCookie(&http.Cookie{Name: "theme", Value: cookie})
		a := ask(k.Main, r)
		a.want(t, 200, want)
		if a.Header.Get("Vary") != "Cookie" {
			t.Error("a page that depends on a cookie does not say so")
		}
	}
}

func TestStaticFiles(t *testing.T) {
	k := newKitchen(t)
	for _, path := range []string{styleURL, bootURL, pageURL, liveURL, iconURL, symbolURL} {
		plain := get(k.Main, path)
		plain.want(t, 200)
		if got := plain.Header.Get("Cache-Control"); got != "public, max-age=31536000, immutable" {
			t.Errorf("%s: Cache-Control %q", path, got)
		}
		if !hash.MatchString(path) {
			t.Errorf("%s has no hash in its name", path)
		}
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("Accept-Encoding", "gzip, br")
		small := ask(k.Main, r)
		zr, err := gzip.NewReader(strings.NewReader(small.Text))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		text, err := io.ReadAll(zr)
		if err != nil || string(text) != plain.Text {
			t.Errorf("%s: compressed and plain differ (%v)", path, err)
		}
		if small.Header.Get("Content-Type") != plain.Header.Get("Content-Type") || small.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: headers of the compressed file: %v", path, small.Header)
		}
	}
}
