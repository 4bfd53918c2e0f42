package ui

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/a-h/templ"
	"github.com/google/go-cmp/cmp"

	"github.com/pizzamill/pizzamill/platform/httpserver"
	"github.com/pizzamill/pizzamill/platform/store"
	"github.com/pizzamill/pizzamill/platform/version"
)

var update = flag.Bool("update", false, "write the golden files again")

// storybook renders every state of every page from constructed data, without a backend.
func storybook(t testing.TB) map[string]templ.Component {
	pl := testPipeline(t)
	order := chrome{Title: "Order", Nav: "/", Entry: true, Live: "/live", Runs: inMemory}
	list := chrome{Title: "All orders", Nav: "/orders", Entry: true, Runs: inMemory}
	form := orderForm{Count: "12", Max: 100000, Key: "formkey"}
	wrong := form
	wrong.Count, wrong.Error = "1.5", "Order whole pizzas: 1 or 2, not 1.5."

	dozen, pizzas := cookingDozen()
	last := viewPizza(anyPizza("01kaz7q4m2x8", 7), pl)
	busy := kitchen{
		Totals:   store.Totals{Ordered: 48210, Completed: 48131, DeadLettered: 41},
		Stations: line(pl, steps(48210, 48207, 48136, 48132, 48131), map[string]int64{"sauce": 1, "cheese": 31, "meat": 1, "veggies": 1}),
		Recent:   viewRows([]store.Order{dozen, largeOrder(), completeOrder("01kaz7k0d8vn", 3, 6*time.Minute), completeOrder("01kaz79m5r1w", 100, 24*time.Hour), completeOrder("01kaz6xq2b7j", 1, 90*24*time.Hour)}, noon),
		Last:     &last, LastTook: "in 382 ms",
	}
	idle := kitchen{Stations: line(pl, nil, nil)}

	partial := dozen
	partial.Completed, partial.DeadLettered, partial.Progress = 11, 1, steps(12, 12, 12, 11, 11)
	partial = dead(partial, map[string]int{"meat": 1})
	hundred := completeOrder("01kaz79m5r1w", 100, time.Minute)
	var second []store.Pizza
	for n := 49; n <= 51; n++ {
		second = append(second, anyPizza(hundred.ID, n))
	}
	large := largeOrder()
	largePizzas := views(pl, anyPizza(large.ID, 1), failed(bake(large.ID, 2, store.DeadLettered), "sauce", 5), bake(large.ID, 3, store.Cooking, "sauce=pesto"), waitingPizza(large.ID, 4))
	tracker := func(o store.Order) chrome {
		return chrome{Title: totals{Order: o}.headline() + ", order " + o.ID, Nav: "/orders", Live: "/orders/" + o.ID + "/live", Last: o.LastEvent, Runs: inMemory}
	}
	done := func(c chrome) chrome { c.Live = ""; return c }
	admin := func(c chrome) chrome { c.Admin = true; return c }
	pizza := func(p store.Pizza, api bool) pizzaPage {
		var j []store.JournalEntry
		if p.Body != nil {
			j = journalOf(p)
		}
		page := viewPizzaPage(p, j, pl)
		page.API = api
		return page
	}
	pizzaChrome := func(p store.Pizza) chrome {
		return chrome{Title: viewPizza(p, pl).Name.plain(), Nav: "/orders", Runs: inMemory}
	}
	problem := func(status int, p func(*httpserver.Problem)) templ.Component {
		q := httpserver.NewProblem(status, "something about it")
		if p != nil {
			p(&q)
		}
		f := describe(q)
		return failView(chrome{Title: f.Title, Runs: inMemory}, f)
	}
	paused := func(c chrome) chrome {
		c.Runs = "pizza, journal, deadletter and ui in this process, Kafka and SQLite"
		c.Line = lineNews{stPaused, "The line is paused: Kafka cannot be reached since 12:01:30.", "212 pizzas are safe and wait.", "You can go on ordering."}
		return c
	}
	resumed := paused(order)
	resumed.Line = lineNews{State: stComplete, Title: "The line runs again.", Text: "212 waiting pizzas are being cooked."}
	one := completeOrder("01kaz7k0d8vn", 1, time.Minute)
	dark := order
	dark.Theme = "dark"
	turned := bake("states", 8, store.Complete, "sauce=arrabbiata", "cheese=\u202egnp.eseehc", "meat=גבינה", "veggies=rocket")
	crusty := testPipeline(t, "sauce", "crust", "cheese")
	odd := []store.Pizza{
		bake("01kaz7q4m2x8", 9999, store.Complete, "sauce=slow-cooked San Marzano tomato with Calabrian chilli & pumpkin cream", "cheese=goat cheese", "meat=pepperoni & salami", "veggies=flame-grilled Mediterranean aubergine, jalapeños"),
		bake("states", 4, store.Complete, "sauce=romesco", "cheese=manchego", "meat=chorizo", "veggies=figs"),
		bake("states", 5, store.Cooking, "sauce=tomato", "crust=stuffed"),
		bake("states", 6, store.Complete, "sauce=none", "cheese=<script>alert(1)</script>", "dessert=tiramisu"),
		failed(anyPizza("states", 7), "pizza", 1),
	}
	return map[string]templ.Component{
		"home":         homeView(order, homePage{Form: form, Kitchen: &busy}),
		"home-dark":    homeView(dark, homePage{Form: form, Kitchen: &busy}),
		"home-empty":   homeView(order, homePage{Form: form, Kitchen: &idle}),
		"home-wrong":   homeView(order, homePage{Form: wrong, Kitchen: &busy}),
		"home-refused": homeView(done(order), homePage{Form: form, Notice: notice{"Your order was not taken.", "The store cannot be written to. Try again in a minute.", "Order 12 again"}}),

		"home-paused":  homeView(paused(order), homePage{Form: form, Kitchen: &busy}),
		"home-resumed": homeView(resumed, homePage{Form: form, Kitchen: &busy}),

		"orders":        listView(list, listPage{Rows: busy.Recent, First: true, Next: "01kaz6xq2b7j"}),
		"orders-empty":  listView(list, listPage{First: true}),
		"orders-older":  listView(list, listPage{}),
		"orders-paused": listView(paused(list), listPage{Rows: busy.Recent, First: true}),
		"orders-admin":  listView(admin(list), listPage{First: true}),

		"order":          orderView(tracker(dozen), orderPage{Totals: totals{Order: dozen, Now: noon}, Shown: shown{Page: 1}, Pizzas: views(pl, pizzas...), Tape: viewEvents(eventsOf(pizzas...)), API: true}),
		"order-admin":    orderView(admin(tracker(dozen)), orderPage{Totals: totals{Order: dozen, Now: noon}, Shown: shown{Page: 1}, Pizzas: views(pl, pizzas[6:]...), Tape: viewEvents(eventsOf(pizzas[8]))}),
		"order-paused":   orderView(paused(tracker(dozen)), orderPage{Totals: totals{Order: dozen, Now: noon}, Shown: shown{Page: 1}, Pizzas: views(pl, pizzas[6:]...), Tape: viewEvents(eventsOf(pizzas[8])), API: true}),
		"order-one":      orderView(done(tracker(one)), orderPage{Totals: totals{Order: one, Now: noon}, Shown: shown{Page: 1}, Pizzas: views(pl, anyPizza(one.ID, 1)), Tape: viewEvents(eventsOf(anyPizza(one.ID, 1))), API: true}),
		"order-partial":  orderView(tracker(partial), orderPage{Totals: totals{Order: partial, Now: noon}, Shown: shown{Page: 1}, Pizzas: views(pl, pizzas[8:9]...), API: true}),
		"order-page-2":   orderView(done(tracker(hundred)), orderPage{Totals: totals{Order: hundred, Now: noon}, Shown: shown{Page: 2}, Pizzas: views(pl, second...), API: true}),
		"order-odd":      orderView(done(tracker(hundred)), orderPage{Totals: totals{Order: completeOrder("states", 5, 48*time.Hour), Now: noon}, Shown: shown{Page: 1}, Pizzas: views(crusty, odd...), API: true}),
		"large":          orderView(tracker(large), orderPage{Totals: totals{Order: large, Now: noon}, Shown: shown{Page: 1}, Pizzas: largePizzas, API: true}),
		"large-filtered": orderView(tracker(large), orderPage{Totals: totals{Order: large, Now: noon}, Shown: shown{Page: 1, Filter: store.InFlightPizzas, After: 2}, Pizzas: largePizzas[2:], More: 4, API: true}),
		"large-none":     orderView(tracker(large), orderPage{Totals: totals{Order: large, Now: noon}, Shown: shown{Page: 1, Filter: store.DeadLetterPizzas}, API: true}),
		"large-complete": orderView(done(tracker(large)), orderPage{Totals: totals{Order: completeOrder("01kaz7pz9c3t", 10000, 2*time.Hour), Now: noon}, Shown: shown{Page: 209}, Pizzas: largePizzas[:1], API: true}),

		"pizza":         pizzaPageView(pizzaChrome(pizzas[6]), pizza(pizzas[6], true)),
		"pizza-admin":   pizzaPageView(admin(pizzaChrome(pizzas[6])), pizza(pizzas[6], false)),
		"pizza-cooking": pizzaPageView(pizzaChrome(pizzas[10]), pizza(pizzas[10], true)),
		"pizza-dead":    pizzaPageView(pizzaChrome(pizzas[8]), pizza(pizzas[8], true)),
		"pizza-paused":  pizzaPageView(paused(pizzaChrome(pizzas[10])), pizza(pizzas[10], true)),
		"pizza-turned":  pizzaPageView(pizzaChrome(turned), pizza(turned, true)),
		"pizza-waiting": pizzaPageView(pizzaChrome(pizzas[11]), pizza(pizzas[11], true)),

		"fail-404":       problem(404, nil),
		"fail-404-order": problem(404, func(p *httpserver.Problem) { p.Title, p.Detail = "No such order", "There is no order x." }),
		"fail-405":       problem(405, nil),
		"fail-413":       problem(413, nil),
		"fail-500":       problem(500, func(p *httpserver.Problem) { p.Instance = "urn:uuid:7c19e2" }),
		"fail-503":       problem(503, nil),
	}
}

func TestPagesLookAsTheyShould(t *testing.T) {
	for name, page := range storybook(t) {
		t.Run(name, func(t *testing.T) {
			got := readable(renderText(t, page))
			path := filepath.Join("testdata", "pages", name+".html")
			if *update {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("%v (write it with -update)", err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("page differs from %s (-want +got; -update after looking at it):\n%s", path, diff)
			}
		})
	}
}

// TestPagesHaveNothingInline holds the pages to the content security policy,
// and to what it must find if someone slips.
func TestPagesHaveNothingInline(t *testing.T) {
	pages := map[string]string{}
	for name, page := range storybook(t) {
		pages[name] = renderText(t, page)
	}
	for name, html := range pages {
		for _, flaw := range inline(html) {
			t.Errorf("%s: %s", name, flaw)
		}
		if n := strings.Count(html, "<h1"); n != 1 {
			t.Errorf("%s: %d elements h1, want 1", name, n)
		}
	}
	for _, slip := range []string{`<p style="color:red">`, `<style>p{}</style>`, `<script>alert(1)</script>`, `<a onclick="x()">`, `<a href="javascript:x()">`, `<img src="//cdn.example/x.png">`} {
		if len(inline(pages["home"]+slip)) == 0 {
			t.Errorf("the checker does not see %s", slip)
		}
	}
}

var inlined = map[string]*regexp.Regexp{
	"a style attribute":          regexp.MustCompile(`<[^>]+\sstyle=`),
	"a style element":            regexp.MustCompile(`<style`),
	"a script without src":       regexp.MustCompile(`<script(?:\s+type="[^"]*")?>`),
	"an event handler attribute": regexp.MustCompile(`<[^>]+\son[a-z]+=`),
	"a javascript address":       regexp.MustCompile(`"javascript:`),
	"something of another host":  regexp.MustCompile(`(?:src|href)="(?:https?:)?//`),
}

func inline(html string) []string {
	var flaws []string
	for flaw, re := range inlined {
		if re.MatchString(html) {
			flaws = append(flaws, flaw+": "+re.FindString(html))
		}
	}
	return flaws
}

func TestIDsAreUnique(t *testing.T) {
	id := regexp.MustCompile(`\sid="([^"]+)"`)
	for name, page := range storybook(t) {
		seen := map[string]bool{}
		for _, m := range id.FindAllStringSubmatch(renderText(t, page), -1) {
			if seen[m[1]] {
				t.Errorf("%s: id %q is there twice", name, m[1])
			}
			seen[m[1]] = true
		}
	}
}

func renderText(t testing.TB, c templ.Component) string {
	t.Helper()
	var buf bytes.Buffer
	if err := c.Render(context.Background(), &buf); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

var hash = regexp.MustCompile(`\.[0-9a-f]{12}\.`)

// readable breaks a page into lines and drops what changes with every release.
func readable(html string) string {
	html = hash.ReplaceAllString(html, ".HASH.")
	html = strings.ReplaceAll(html, "pizzamill "+version.String()+",", "pizzamill VERSION,")
	return strings.ReplaceAll(html, "><", ">\n<") + "\n"
}
