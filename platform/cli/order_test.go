package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const testOrder = "01k9"

// orderJSON is the order as the API has it.
func orderJSON(status string, count, completed, dead int) string {
	at := "null"
	if status == "complete" {
		at = `"2026-11-23T10:00:02.500Z"`
	}
	return fmt.Sprintf(`{"id":"%s","count":%d,"status":"%s","completed":%d,"dead_lettered":%d,"created_at":"2026-11-23T10:00:00.000Z","completed_at":%s,"progress":[]}`,
		testOrder, count, status, completed, dead, at)
}

func refuse(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json; charset=utf-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail})
}

// kitchen is a server that answers posts and streams by turns: the first of
// each is for the first request. The last ones go on for ever.
type kitchen struct {
	posts   []http.HandlerFunc
	streams []http.HandlerFunc
	page    http.HandlerFunc // of the order; nil is a server without pages

	posted, streamed atomic.Int32
	keys             []string
}

func (k *kitchen) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	turn := func(n *atomic.Int32, of []http.HandlerFunc) { of[min(int(n.Add(1)), len(of))-1](w, r) }
	switch {
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/api/orders"):
		k.keys = append(k.keys, r.Header.Get("Idempotency-Key"))
		body, _ := io.ReadAll(r.Body)
		if want := `{"count":12}`; string(body) != want || r.Header.Get("Content-Type") != "application/json" {
			refuse(w, http.StatusTeapot, "the body is "+string(body))
			return
		}
		turn(&k.posted, k.posts)
	case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/api/orders/"+testOrder+"/events") && r.URL.RawQuery == "detail=summary":
		turn(&k.streamed, k.streams)
	case r.Method == http.MethodHead && strings.HasSuffix(r.URL.Path, "/orders/"+testOrder) && k.page != nil:
		k.page(w, r)
	default:
		refuse(w, http.StatusNotFound, "no such page: "+r.URL.String())
	}
}

func accept(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprintln(w, orderJSON("cooking", 12, 0, 0))
}

func page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
}

func busy(after string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", after)
		refuse(w, http.StatusServiceUnavailable, "the store cannot write now")
	}
}

// hangUp loses the connection after the server has done its work.
func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// tell streams orders a second apart and then ends, or hangs if the last is "hang".
func tell(states ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i, s := range states {
			if i > 0 {
				pause(r.Context(), time.Second)
			}
			switch s {
			case "hang":
				<-r.Context().Done()
			case "comment":
				fmt.Fprint(w, ":\n\n")
			case "end":
				fmt.Fprint(w, "event: end\ndata: {\"status\":\"complete\"}\n\n")
			default:
				fmt.Fprintf(w, "event: order\r\ndata: %s\n\n", s)
			}
			http.NewResponseController(w).Flush()
		}
	}
}

func TestOrder(t *testing.T) {
	cooking := func(n int) string { return orderJSON("cooking", 12, n, 0) }
	whole := tell(cooking(0), cooking(5), orderJSON("complete", 12, 12, 0), "end")
	silent := tell(cooking(1), "hang")
	type turns = []http.HandlerFunc
	for _, c := range []struct {
		name    string
		posts   turns // none is a server that is not there
		streams turns
		page    http.HandlerFunc // nil is that of every server with pages
		args    string           // besides order 12
		code    int
		took    time.Duration
	}{
		{name: "order", posts: turns{accept}},
		{name: "order json", posts: turns{accept}, args: "-o json"},
		{name: "order from URL", posts: turns{accept}, args: "--server http://pizza.example:8000/mill/"},
		{name: "order without pages", posts: turns{accept}, page: http.NotFound},
		{name: "order with something else for pages", posts: turns{accept}, page: func(http.ResponseWriter, *http.Request) {}},
		{name: "order with pages that hang", posts: turns{accept}, page: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, took: pagePatience},
		{name: "order after 503", posts: turns{busy("2"), busy("1"), accept}, took: 3 * time.Second},
		{name: "order after lost answers", posts: turns{hangUp, hangUp, accept}, took: 300 * time.Millisecond},
		{name: "order always 503", posts: turns{busy("1")}, code: 4, took: 4 * time.Second},
		{name: "order 503 for an hour", posts: turns{busy("3600")}, code: 4},
		{name: "order refused", posts: turns{func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, http.StatusBadRequest, "count must be from 1 to 10\x1b[2J")
		}}, code: 1},
		{name: "order nonsense", posts: turns{func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }}, code: 1},
		{name: "order unreachable", code: 4, took: 1500 * time.Millisecond},

		{name: "watch", posts: turns{accept}, streams: turns{whole}, args: "--watch", took: 2 * time.Second},
		{name: "watch json", posts: turns{accept}, streams: turns{whole}, args: "--watch -o json", took: 2 * time.Second},
		{
			name: "watch partial", posts: turns{accept}, args: "--watch", code: 5, took: time.Second,
			streams: turns{tell(cooking(3), orderJSON("partial", 12, 10, 2), "hang")},
		},
		{
			name: "watch long", posts: turns{accept}, args: "--watch", took: 13 * time.Second,
			streams: turns{tell(cooking(1), cooking(2), cooking(3), cooking(4), cooking(5), cooking(6), cooking(7),
				orderJSON("cooking", 12, 8, 1), cooking(8), cooking(9), cooking(10), cooking(11), "comment", orderJSON("complete", 12, 12, 0))},
		},
		{
			name: "watch lost and resumed", posts: turns{accept}, args: "--watch", took: 3750 * time.Millisecond,
			streams: turns{tell(cooking(2), cooking(3)), hangUp, busy("1"), whole},
		},
		{name: "watch silent", posts: turns{accept}, args: "--watch", took: 47*time.Second + 250*time.Millisecond, streams: turns{silent, whole}},
		{name: "watch server gone", posts: turns{accept}, args: "--watch", code: 4, took: 62750 * time.Millisecond, streams: turns{busy("1")}},
		{name: "watch order gone", posts: turns{accept}, args: "--watch", code: 1, streams: turns{func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, http.StatusNotFound, "no such order")
		}}},
		{name: "watch order gone json", posts: turns{accept}, args: "--watch -o json", code: 1, streams: turns{func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, http.StatusNotFound, "no such order")
		}}},
		{name: "watch nonsense", posts: turns{accept}, args: "--watch", code: 1, streams: turns{tell(`{"id":3}`)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			synctest.Test(t, func(t *testing.T) {
				k := &kitchen{posts: c.posts, streams: c.streams, page: c.page}
				if k.page == nil {
					k.page = page
				}
				var handler http.Handler
				if c.posts != nil {
					handler = k
				}
				r := newRun(t, handler)
				args := append([]string{"order", "12"}, strings.Fields(c.args)...)
				begin := time.Now()
				code := r.run(t.Context(), args)
				if code != c.code {
					t.Errorf("exit code %d, want %d", code, c.code)
				}
				if took := time.Since(begin); took != c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
				for _, key := range k.keys {
					if key != k.keys[0] || len(key) < 20 {
						t.Errorf("the attempts have the keys %q, want one for all", k.keys)
					}
				}
				golden(t, c.name, r.transcript(args, code))
			})
		})
	}
}

func TestInterruptedWatch(t *testing.T) {
	for _, output := range []string{"text", "json"} {
		t.Chdir(t.TempDir())
		synctest.Test(t, func(t *testing.T) {
			r := newRun(t, &kitchen{
				posts:   []http.HandlerFunc{accept},
				streams: []http.HandlerFunc{tell(orderJSON("cooking", 12, 7, 0), "hang")},
				page:    page,
			})
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			args := []string{"order", "12", "--watch", "-o", output}
			code := r.run(ctx, args)
			if code != 130 {
				t.Errorf("exit code %d, want 130", code)
			}
			golden(t, "watch interrupted "+output, r.transcript(args, code))
		})
	}
}

func TestInterruptedOrder(t *testing.T) {
	t.Chdir(t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		r := newRun(t, &kitchen{posts: []http.HandlerFunc{func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if code := r.run(ctx, []string{"order", "12"}); code != 130 || r.stderr.String() != "pizzamill: interrupted\n" {
			t.Errorf("exit code %d, stderr %q", code, r.stderr.String())
		}
	})
}

func TestWatchOnATerminal(t *testing.T) {
	t.Chdir(t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		r := newRun(t, &kitchen{
			posts: []http.HandlerFunc{accept},
			page:  page,
			streams: []http.HandlerFunc{
				tell(orderJSON("cooking", 12, 0, 0), orderJSON("cooking", 12, 5, 0)),
				tell(orderJSON("cooking", 12, 11, 1), orderJSON("partial", 12, 11, 1)),
			},
		})
		r.width = func() int { return 60 }
		args := []string{"order", "12", "--watch"}
		code := r.run(t.Context(), args)
		shown := strings.NewReplacer("\r", "<CR>", "\x1b[K", "<CLEAR>").Replace(r.transcript(args, code))
		golden(t, "watch terminal", shown)
	})
}

func TestBarFitsTheTerminal(t *testing.T) {
	var all strings.Builder
	o := order{Count: 10_000, Completed: 2_345, DeadLettered: 12}
	for _, width := range []int{200, 80, 60, 50, 40, 20, 5, 1} {
		line := bar(o, "850/s", width-1)
		if len(line) > width-1 {
			t.Errorf("%d columns in a terminal of %d: %q", len(line), width, line)
		}
		fmt.Fprintf(&all, "%3d %s\n", width, line)
	}
	for _, o := range []order{{Count: 3}, {Count: 3, Completed: 3}, {Count: 1000, Completed: 999}, {Count: 0}} {
		fmt.Fprintf(&all, "    %s\n", bar(o, rate(o.Completed, 2*time.Second), 79))
	}
	golden(t, "bar", all.String())
}

func TestJournal(t *testing.T) {
	const body = `{"pizza_id":"01k9-7", "events":[
		{"id":"01k9-7/pizza","topic":"pizza","at":"2026-11-23T10:00:00.100Z","source":"pizza","replay":0,"data":{"id":"01k9-7"}},
		{"id":"01k9-7/sauce","topic":"pizza-with-sauce","at":"2026-11-23T10:00:00.123Z","source":"sauce","replay":0,"data":{"id":"01k9-7","sauce":"alfredo"}},
		{"id":"01k9-7/cheese","topic":"pizza-with-cheese","at":"2026-11-23T10:00:01.123Z","source":null,"replay":0,"data":{"id":"01k9-7","sauce":"alfredo","cheese":"goat\u001b[2J cheese"}},
		{"id":"01k9-7/meat","topic":"pizza-with-meat","at":"2026-11-23T10:00:01.123Z","source":"meat","replay":0,"data":{"id":"01k9-7"}}]}`
	server := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/pizzas/01k9-7/journal":
			fmt.Fprint(w, body)
		case "/api/pizzas/01k9-8/journal":
			fmt.Fprint(w, `{"pizza_id":"01k9-8","events":[]}`)
		case "/api/pizzas/01k9-10/journal":
			fmt.Fprint(w, "nothing")
		default:
			refuse(w, http.StatusNotFound, "no such pizza")
		}
	})
	for _, c := range []struct {
		name string
		args string
		code int
	}{
		{"journal", "01k9-7", 0},
		{"journal json", "01k9-7 -o json", 0},
		{"journal empty", "01k9-8", 0},
		{"journal unknown", "01k9-9", 1},
		{"journal nonsense", "01k9-10", 1},
		{"journal nonsense json", "01k9-10 -o json", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			r := newRun(t, server)
			args := append([]string{"journal"}, strings.Fields(c.args)...)
			code := r.run(t.Context(), args)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			golden(t, c.name, r.transcript(args, code))
		})
	}
}
