package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pizzamill/pizzamill/platform/event"
)

// BenchmarkLine measures the whole path of a pizza as `go run .` has it, order
// to complete: the API, the relay, four stages behind the full middleware on
// GoChannel, the journal with every event, the finished pizza, all of it synced
// to SQLite. In the same run it measures the floor: five goroutines with
// unbuffered channels and encoding/json between them and nothing stored, with
// an event of about 250 bytes read and written at each of the five hops. The
// ratio of the two is what holds from machine to machine.
//
//	go test -run '^$' -bench Line -benchtime 5x .
func BenchmarkLine(b *testing.B) {
	const pizzas = 20_000
	url, _, stop := start(b, options(b))
	defer func() {
		if err := stop(); err != nil {
			b.Error(err)
		}
	}()
	bake(b, url, 2_000) // warm
	var line, floor time.Duration
	for b.Loop() {
		begin := time.Now()
		bake(b, url, pizzas)
		line += time.Since(begin)
		begin = time.Now()
		bakeFloor(b, pizzas)
		floor += time.Since(begin)
	}
	n := float64(b.N * pizzas)
	b.ReportMetric(n/line.Seconds(), "pizzas/s")
	b.ReportMetric(n/floor.Seconds(), "floor-pizzas/s")
	b.ReportMetric(floor.Seconds()/line.Seconds(), "of-floor")
	b.ReportMetric(0, "ns/op")
}

// bake orders n pizzas and returns when they are complete.
func bake(b testing.TB, url string, n int) {
	b.Helper()
	resp, err := http.Post(url+"/api/orders", "application/json", strings.NewReader(fmt.Sprintf(`{"count":%d}`, n)))
	if err != nil {
		b.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		b.Fatalf("order: %s", resp.Status)
	}
	stream, err := http.Get(url + resp.Header.Get("Location") + "/events?detail=summary")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = stream.Body.Close() }()
	for lines := bufio.NewScanner(stream.Body); lines.Scan(); {
		if lines.Text() == "event: end" {
			return
		}
	}
	b.Fatal("the stream ended before the order was complete")
}

// floorPizza is the event of the floor.
type floorPizza struct {
	ID      string `json:"id"`
	OrderID string `json:"order_id"`
	Number  int    `json:"number"`
	Sauce   string `json:"sauce,omitempty"`
	Cheese  string `json:"cheese,omitempty"`
	Meat    string `json:"meat,omitempty"`
	Veggies string `json:"veggies,omitempty"`
	Note    string `json:"note"`
}

// bakeFloor sends n pizzas through five goroutines that read the event, set a
// field and write it, and do nothing else.
func bakeFloor(b *testing.B, n int) {
	b.Helper()
	hop := func(in <-chan []byte, set func(*floorPizza)) <-chan []byte {
		out := make(chan []byte)
		go func() {
			defer close(out)
			for body := range in {
				var p floorPizza
				if err := json.Unmarshal(body, &p); err != nil {
					panic(err)
				}
				set(&p)
				body, err := json.Marshal(p)
				if err != nil {
					panic(err)
				}
				out <- body
			}
		}()
		return out
	}
	source := make(chan []byte)
	note := strings.Repeat("x", 80) // makes the finished event one of 250 bytes
	go func() {
		defer close(source)
		for i := range n {
			source <- event.New(event.PizzaID{Order: "01kaz7q4m2x8abcd", Number: i + 1}, 0).With("note", note).Body()
		}
	}()
	c := hop(source, func(p *floorPizza) { p.Sauce = "pumpkin cream" })
	c = hop(c, func(p *floorPizza) { p.Cheese = "goat cheese" })
	c = hop(c, func(p *floorPizza) { p.Meat = "pepperoni" })
	c = hop(c, func(p *floorPizza) { p.Veggies = "cherry tomatoes" })
	c = hop(c, func(*floorPizza) {})
	done := 0
	for range c {
		done++
	}
	if done != n {
		b.Fatalf("%d of %d", done, n)
	}
}
