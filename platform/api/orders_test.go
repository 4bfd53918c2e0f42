package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
)

func itoa(n int) string { return strconv.Itoa(n) }

func (l *line) wantProblem(what string, a answer, status int) {
	l.t.Helper()
	if a.StatusCode != status {
		l.t.Errorf("%s: %d %s, want %d", what, a.StatusCode, a.body, status)
		return
	}
	var p struct {
		Type, Title, Detail string
		Status              int
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || p.Type == "" || p.Title == "" || p.Detail == "" || p.Status != status {
		l.t.Errorf("%s: problem %q: %+v, %v", what, a.body, p, err)
	}
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		l.t.Errorf("%s: content type %q", what, got)
	}
	if got := a.Header.Get("Cache-Control"); got != "no-store" {
		l.t.Errorf("%s: cache control %q", what, got)
	}
}

// Each of these is refused, says why, and leaves no trace.
func TestMalformedOrders(t *testing.T) {
	l := newLine(t, nil, mountMain)
	large := `{"count":3}` + strings.Repeat(" ", 64<<10)
	for _, tc := range []struct {
		name, request string
		status        int
	}{
		{"empty body", "POST /api/orders HTTP/1.1\r\nHost: x\r\n" + asJSON + "\r\nContent-Length: 0\r\n\r\n", 400},
		{"no body at all", "POST /api/orders HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"no type", "POST /api/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n{\"count\":3}", 415},
		{"a form", "POST /api/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\ncount=3", 415},
		{"text", "POST /api/orders HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 11\r\n\r\n{\"count\":3}", 415},
		{"text, empty", "POST /api/orders HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n", 415},
		{"latin1", "POST /api/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json; charset=latin1\r\nContent-Length: 11\r\n\r\n{\"count\":3}", 415},
		{"gzip", "POST /api/orders HTTP/1.1\r\nHost: x\r\n" + asJSON + "\r\nContent-Encoding: gzip\r\nContent-Length: 11\r\n\r\n{\"count\":3}", 415},
		{"too large", "POST /api/orders HTTP/1.1\r\nHost: x\r\n" + asJSON + "\r\nContent-Length: " + itoa(len(large)) + "\r\n\r\n" + large, 413},
		{"too large and malformed", "POST /api/orders HTTP/1.1\r\nHost: x\r\n" + asJSON + "\r\nContent-Length: 6291456\r\n\r\n" + strings.Repeat("{", 6<<20), 413},
		{"too large, in chunks", "POST /api/orders HTTP/1.1\r\nHost: x\r\n" + asJSON + "\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("2000\r\n"+strings.Repeat(" ", 0x2000)+"\r\n", 9) + "0\r\n\r\n", 413},
		{"too large, asking first", "POST /api/orders HTTP/1.1\r\nHost: x\r\n" + asJSON + "\r\nExpect: 100-continue\r\nContent-Length: 1048576\r\n\r\n", 413},
		{"broken chunks", "POST /api/orders HTTP/1.1\r\nHost: x\r\n" + asJSON + "\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{\"count\":3}\r\n0\r\n\r\n", 400},
		{"two keys", "POST /api/orders HTTP/1.1\r\nHost: x\r\n" + asJSON + "\r\nIdempotency-Key: a\r\nIdempotency-Key: a\r\nContent-Length: 11\r\n\r\n{\"count\":3}", 400},
		{"empty key", "POST /api/orders HTTP/1.1\r\nHost: x\r\n" + asJSON + "\r\nIdempotency-Key:\r\nContent-Length: 11\r\n\r\n{\"count\":3}", 400},
		{"key that is too long", "POST /api/orders HTTP/1.1\r\nHost: x\r\n" + asJSON + "\r\nIdempotency-Key: " + strings.Repeat("k", 256) + "\r\nContent-Length: 11\r\n\r\n{\"count\":3}", 400},
		{"key in UTF-8", "POST /api/orders HTTP/1.1\r\nHost: x\r\n" + asJSON + "\r\nIdempotency-Key: käse\r\nContent-Length: 11\r\n\r\n{\"count\":3}", 400},
		{"classic: zero", "POST /order/0 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"classic: negative", "POST /order/-1 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"classic: fraction", "POST /order/1.5 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"classic: exponent", "POST /order/1e2 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"classic: leading zero", "POST /order/03 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"classic: plus", "POST /order/+3 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"classic: space", "POST /order/%203 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"classic: word", "POST /order/three HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"classic: too many", "POST /order/1001 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"classic: nothing", "POST /order/ HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		{"classic: slash in the count", "POST /order/3%2F4 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	} {
		l.wantProblem(tc.name, l.send(tc.request), tc.status)
	}
	for _, body := range []string{
		`{"count":0}`, `{"count":-1}`, `{"count":1.5}`, `{"count":3.0}`, `{"count":1e2}`, `{"count":1e9}`, `{"count":"x"}`,
		`{"count":null}`, `{}`, `{"count":3,"size":"L"}`, `{"count":3,"count":3}`, `{"count":3}{"count":3}`, `{"count":3}x`,
		"\xef\xbb\xbf{\"count\":3}", "{\"count\":3,\"\xff\":1}", `{"count":1001}`, `[3]`, `3`, `null`, ` `,
	} {
		l.wantProblem(body, l.call("POST", "/api/orders", body, asJSON), 400)
	}
	for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BAKE"} {
		a := l.call(method, "/api/orders", `{"count":3}`, asJSON)
		l.wantProblem(method, a, 405)
		if got := a.Header.Get("Allow"); got != "GET, HEAD, POST" {
			t.Errorf("%s: %d, Allow %q", method, a.StatusCode, got)
		}
	}
	if a := l.get("/api/orders"); a.body != `{"orders":[],"next_before":null}`+"\n" {
		t.Errorf("a refused order left a trace: %s", a.body)
	}
}

// The body ends early: the client half-closes where more was promised.
func TestBodyCutShort(t *testing.T) {
	l := newLine(t, nil, mountMain)
	conn, err := net.Dial("tcp", l.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	request := "POST /api/orders HTTP/1.1\r\nHost: x\r\n" + asJSON + "\r\nContent-Length: 99\r\n\r\n{\"count\":3}"
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	l.wantProblem("cut short", l.receive(conn, request), 400)
}

// net/http ends the context of a client that half-closes; its order counts all the same.
func TestHalfClosedClientGetsItsOrder(t *testing.T) {
	contexts := make(chan context.Context, 1)
	l := newLine(t, func(s *server) {
		s.Taking = func() error {
			<-(<-contexts).Done() // net/http has noticed
			return nil
		}
	}, func(mux *http.ServeMux, s *server) {
		mux.HandleFunc("POST /api/orders", func(w http.ResponseWriter, r *http.Request) {
			contexts <- r.Context()
			s.handle(s.placeOrder).ServeHTTP(w, r)
		})
	})
	conn, err := net.Dial("tcp", l.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	request := "POST /api/orders HTTP/1.1\r\nHost: x\r\n" + asJSON + "\r\nContent-Length: 11\r\n\r\n{\"count\":3}"
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if a := l.receive(conn, request); a.StatusCode != 202 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestOrderBodiesThatAreFine(t *testing.T) {
	l := newLine(t, nil, mountMain)
	padded := `{"count":3}`
	padded += strings.Repeat(" ", 64<<10-len(padded))
	for _, tc := range []struct{ body, header string }{
		{`{"count":3}`, asJSON},
		{" \r\n{ \"count\" :\t1000 }\n", "content-type: Application/JSON;charset=UTF-8"},
		{padded, asJSON},
	} {
		if a := l.call("POST", "/api/orders", tc.body, tc.header); a.StatusCode != 202 {
			t.Errorf("%.40q: %d %s", tc.body, a.StatusCode, a.body)
		}
	}
	chunked := "POST /api/orders HTTP/1.1\r\nHost: x\r\n" + asJSON + "\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"cou\r\n6\r\nnt\":3}\r\n0\r\n\r\n"
	if a := l.send(chunked); a.StatusCode != 202 {
		t.Errorf("in chunks: %d %s", a.StatusCode, a.body)
	}
}

// transcript is what a client sees of a series of calls.
func (l *line) transcript(calls ...string) []byte {
	l.t.Helper()
	var out strings.Builder
	for _, c := range calls {
		method, rest, _ := strings.Cut(c, " ")
		path, body, _ := strings.Cut(rest, " ")
		var headers []string
		if body != "" {
			headers = []string{asJSON}
		}
		a := l.call(method, path, body, headers...)
		fmt.Fprintf(&out, "%s\n%d %s\n", c, a.StatusCode, a.Header.Get("Content-Type"))
		for _, h := range []string{"Location", "Allow", "Retry-After"} {
			if v := a.Header.Get(h); v != "" {
				fmt.Fprintf(&out, "%s: %s\n", h, v)
			}
		}
		out.WriteString(a.body + "\n")
	}
	return []byte(out.String())
}

func TestMainCalls(t *testing.T) {
	l := newLine(t, nil, mountMain)
	placed := l.transcript(`POST /api/orders {"count":4}`)
	orders, err := l.Ledger.Orders(t.Context(), 1, "")
	if err != nil {
		t.Fatal(err)
	}
	id := orders[0].ID
	l.bake(id, 1)
	l.reach(id, "cheese", 2) // the steps before are inferred
	l.bury(id, 3, "letter-3xxxxxxxxxxxx")
	second := l.place(1)
	l.bake(second, 1)
	golden(t, "main.golden", append(placed, l.transcript(
		"GET /api/orders", "GET /api/orders?limit=1&unknown=x", "GET /api/orders?before="+second,
		"GET /api/orders/"+id, "GET /api/orders/"+id+"?after=1&limit=2", "GET /api/orders/"+id+"?after=99",
		"GET /api/orders/"+second, "GET /api/pizzas/"+id+"-1", "GET /api/pizzas/"+id+"-2/journal",
		"GET /api/pizzas/"+id+"-4", "GET /api/pizzas/"+id+"-4/journal", "GET /api/pizzas/"+id+"-5",
		"GET /order/"+id, "GET /livez", "GET /readyz",
	)...))
}

func TestUnknownAndIllFormed(t *testing.T) {
	l := newLine(t, nil, mountMain)
	id := l.place(2)
	for path, status := range map[string]int{
		"/api/orders/nope":                        404,
		"/api/orders/" + strings.Repeat("a", 65):  404,
		"/api/orders/a_b":                         404,
		"/api/orders/%2e%2e":                      404,
		"/api/orders/%00":                         404,
		"/api/orders/%F0%9F%8D%95":                404,
		"/api/orders/nope/events":                 404,
		"/api/orders/" + id + "/nothing":          404,
		"/api/pizzas/" + id:                       404,
		"/api/pizzas/" + id + "-0":                404,
		"/api/pizzas/" + id + "-01":               404,
		"/api/pizzas/" + id + "-3":                404,
		"/api/pizzas/" + id + "-99999999999":      404,
		"/api/pizzas/" + id + "-x/journal":        404,
		"/api/pizzas/nope-1/journal":              404,
		"/order/nope":                             404,
		"/order":                                  404,
		"/api/nothing":                            404,
		"/api/orders?limit=0":                     400,
		"/api/orders?limit=1001":                  400,
		"/api/orders?limit=x":                     400,
		"/api/orders?limit=1&limit=1":             400,
		"/api/orders?before=":                     400,
		"/api/orders?before=a_b":                  400,
		"/api/orders?before=nope":                 400,
		"/api/orders?before=a&before=b":           400,
		"/api/orders/" + id + "?after=-1":         400,
		"/api/orders/" + id + "?after=9999999999": 400,
		"/api/orders/" + id + "?limit=1001":       400,
		"/api/orders/" + id + "?limit=":           400,
	} {
		l.wantProblem(path, l.get(path), status)
	}
}

func TestPagesOfOrders(t *testing.T) {
	l := newLine(t, nil, mountMain)
	var placed []string
	for range 5 {
		placed = append(placed, l.place(1))
	}
	var seen []string
	next := ""
	for {
		a := l.get("/api/orders?limit=2" + next)
		var page struct {
			Orders []struct{ ID string }
			Next   *string `json:"next_before"`
		}
		if err := json.Unmarshal([]byte(a.body), &page); err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Orders {
			seen = append([]string{o.ID}, seen...)
		}
		if page.Next == nil {
			break
		}
		next = "&before=" + *page.Next
	}
	if strings.Join(seen, " ") != strings.Join(placed, " ") {
		t.Errorf("seen %v\nplaced %v", seen, placed)
	}
}

func TestIdempotencyKeyGivesTheSameOrder(t *testing.T) {
	l := newLine(t, nil, mountMain)
	var wg sync.WaitGroup
	locations := make([]string, 8)
	for i := range locations {
		wg.Go(func() {
			a := l.call("POST", "/api/orders", `{"count":3}`, asJSON, "Idempotency-Key: breakfast")
			if a.StatusCode != 202 {
				t.Errorf("%d %s", a.StatusCode, a.body)
			}
			locations[i] = a.Header.Get("Location")
		})
	}
	wg.Wait()
	for _, got := range locations {
		if got == "" || got != locations[0] {
			t.Errorf("orders %v: want one", locations)
			break
		}
	}
	l.wantProblem("another count", l.call("POST", "/api/orders", `{"count":4}`, asJSON, "Idempotency-Key: breakfast"), 422)
	a := l.call("POST", "/order/3", "", "Idempotency-Key: breakfast")
	if want := `{"order_id":"` + strings.TrimPrefix(locations[0], "/api/orders/") + `"}` + "\n"; a.StatusCode != 200 || a.body != want {
		t.Errorf("classic: %d %s, want %s", a.StatusCode, a.body, want)
	}
}

func TestHead(t *testing.T) {
	l := newLine(t, nil, mountMain)
	id := l.place(1)
	l.bake(id, 1)
	for _, path := range []string{
		"/api/orders", "/api/orders/" + id, "/api/orders/" + id + "/events", "/api/pizzas/" + id + "-1",
		"/api/pizzas/" + id + "-1/journal", "/order/" + id, "/livez", "/readyz", "/api/orders/nope",
	} {
		head, get := l.call("HEAD", path, ""), l.get(path)
		if head.StatusCode != get.StatusCode || head.body != "" || head.Header.Get("Content-Type") != get.Header.Get("Content-Type") {
			t.Errorf("%s: HEAD %d %q %v, GET %d %v", path, head.StatusCode, head.body, head.Header, get.StatusCode, get.Header)
		}
	}
}

// A classic order comes in pages behind the scenes; the client sees one array.
func TestClassicOrderOfManyPizzas(t *testing.T) {
	l := newLine(t, func(s *server) { s.MaxPizzas = 3000 }, mountMain)
	id := l.place(2500)
	l.reach(id, "veggies", upTo(2500)...)
	var order struct {
		ID     string
		Count  int
		Pizzas []struct{ Number int }
	}
	if err := json.Unmarshal([]byte(l.get("/order/"+id).body), &order); err != nil {
		t.Fatal(err)
	}
	if order.ID != id || order.Count != 2500 || len(order.Pizzas) != 2500 {
		t.Fatalf("%s, %d, %d pizzas", order.ID, order.Count, len(order.Pizzas))
	}
	for i, p := range order.Pizzas {
		if p.Number != i+1 {
			t.Fatalf("pizza %d at place %d", p.Number, i)
		}
	}
}

func TestStoreThatFailsIsA503(t *testing.T) {
	l := newLine(t, nil, mountMain)
	id := l.place(1)
	l.db.fails.Store(true)
	for _, c := range []string{
		`POST /api/orders {"count":3}`, "POST /order/3", "GET /api/orders", "GET /api/orders/" + id, "GET /api/orders/" + id + "/events",
		"GET /api/pizzas/" + id + "-1", "GET /api/pizzas/" + id + "-1/journal", "GET /order/" + id, "GET /readyz",
	} {
		method, rest, _ := strings.Cut(c, " ")
		path, body, _ := strings.Cut(rest, " ")
		a := l.call(method, path, body, asJSON)
		l.wantProblem(c, a, 503)
		if a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", c)
		}
		if strings.Contains(a.body, errDisk.Error()) {
			t.Errorf("%s: the cause is told to everybody: %s", c, a.body)
		}
	}
	if a := l.get("/livez"); a.StatusCode != http.StatusOK {
		t.Errorf("livez: %d", a.StatusCode)
	}
	l.db.fails.Store(false)
	if a := l.get("/readyz"); a.StatusCode != http.StatusOK {
		t.Errorf("readyz, mended: %d %s", a.StatusCode, a.body)
	}
	orders, err := l.Ledger.Orders(t.Context(), 10, "")
	if err != nil || len(orders) != 1 {
		t.Errorf("orders %v, %v: a 503 left one behind", orders, err)
	}
}

func TestNoOrdersWhileStopping(t *testing.T) {
	l := newLine(t, func(s *server) {
		s.Taking = func() error { return errors.New("this process is stopping") }
	}, mountMain)
	for _, c := range []string{"/api/orders", "/order/3"} {
		a := l.call("POST", c, `{"count":3}`, asJSON)
		l.wantProblem(c, a, 503)
		if a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", c)
		}
	}
	l.wantProblem("readyz", l.get("/readyz"), 503)
	if orders, err := l.Ledger.Orders(t.Context(), 10, ""); err != nil || len(orders) != 0 {
		t.Errorf("orders %v, %v", orders, err)
	}
}
