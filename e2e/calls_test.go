package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// refusalLimit bounds small orders in tests that are about something else.
const refusalLimit = 20 * time.Second

// TestMethods asks every path with a method it does not have.
func TestMethods(t *testing.T) {
	s := start(t)
	id := s.mustOrder(1)
	s.mustComplete(id, refusalLimit)
	before := s.trace()
	for _, c := range []struct {
		path    string
		allowed []string
	}{
		{"/api/orders", []string{"GET", "POST"}},
		{"/api/orders/" + id, []string{"GET"}},
		{"/api/orders/" + id + "/events", []string{"GET"}},
		{"/api/pizzas/" + id + "-1", []string{"GET"}},
		{"/api/pizzas/" + id + "-1/journal", []string{"GET"}},
		{"/order/3", []string{"GET", "POST"}},
		{"/readyz", []string{"GET"}},
		{"/livez", []string{"GET"}},
	} {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			if strings.Contains(strings.Join(c.allowed, " "), method) {
				continue
			}
			t.Run(method+" "+c.path, func(t *testing.T) {
				r := send(t, s.main, request11(method, c.path, "localhost", []string{jsonType}, `{"count":3}`))
				wantAllow(t, r, c.allowed...)
			})
		}
	}
	for _, path := range []string{"/api/dead-letters", "/api/lag", "/api/topology", "/readyz", "/livez"} {
		t.Run("admin POST "+path, func(t *testing.T) {
			wantAllow(t, send(t, s.admin, request11("POST", path, s.admin, nil, "")), "GET")
		})
	}
	if after := s.trace(); after != before {
		t.Errorf("refused methods left a trace: before %+v, after %+v", before, after)
	}
}

// TestUnknownAndBadQueries asks for what is not there, and badly for what is.
func TestUnknownAndBadQueries(t *testing.T) {
	s := start(t)
	id := s.mustOrder(3)
	s.mustComplete(id, refusalLimit)
	notFound := []string{
		"/api/orders/nobody", "/api/orders/nobody/events", "/api/orders/nobody/events?detail=summary", "/order/nobody",
		"/api/pizzas/nobody", "/api/pizzas/nobody-1", "/api/pizzas/nobody-1/journal", "/api/pizzas/" + id,
		"/api/pizzas/" + id + "-0", "/api/pizzas/" + id + "-4", "/api/pizzas/" + id + "-01", "/api/pizzas/" + id + "-1x",
		"/api/pizzas/" + id + "-4/journal", "/api/pizzas/" + id + "--1", "/api/pizzas/" + id + "-99999999999999999999",
		"/api/orders/" + strings.Repeat("a", 65), "/api/orders/" + id + "%00", "/api/nothing", "/api/", "/api/orders/" + id + "/nothing",
	}
	for _, path := range notFound {
		t.Run("404 "+path, func(t *testing.T) {
			wantProblem(t, send(t, s.main, request11("GET", path, "localhost", nil, "")), http.StatusNotFound)
		})
	}
	var bad []string
	for _, limit := range []string{"0", "-1", "1001", "x", "1.5", "", "99999999999999999999", "+5", "0x10", "5&limit=5"} {
		bad = append(bad, "/api/orders?limit="+limit, "/api/orders/"+id+"?limit="+limit)
	}
	for _, after := range []string{"-1", "x", "1.5", "99999999999999999999"} {
		bad = append(bad, "/api/orders/"+id+"?after="+after, "/api/orders/"+id+"/events?last_event_id="+after)
	}
	bad = append(bad, "/api/orders?before=no%20order", "/api/orders?before="+strings.Repeat("a", 65))
	for _, path := range bad {
		t.Run("400 "+path, func(t *testing.T) {
			wantProblem(t, send(t, s.main, request11("GET", path, "localhost", nil, "")), http.StatusBadRequest)
		})
	}
	for _, path := range []string{"/api/dead-letters?limit=0", "/api/dead-letters?limit=1001", "/api/dead-letters?limit=x"} {
		t.Run("400 admin "+path, func(t *testing.T) {
			wantProblem(t, send(t, s.admin, request11("GET", path, s.admin, nil, "")), http.StatusBadRequest)
		})
	}
	for _, path := range []string{"/api/dead-letters/nobody", "/api/nothing"} {
		t.Run("404 admin "+path, func(t *testing.T) {
			wantProblem(t, send(t, s.admin, request11("GET", path, s.admin, nil, "")), http.StatusNotFound)
		})
	}
	for _, last := range []string{"x", "-1", "1.5"} {
		t.Run("400 Last-Event-ID "+last, func(t *testing.T) {
			wantProblem(t, send(t, s.main, request11("GET", "/api/orders/"+id+"/events", "localhost", []string{"Last-Event-ID: " + last}, "")), http.StatusBadRequest)
		})
	}
}

// TestIdempotencyKey gives one key one order: at once, again, and after a crash.
func TestIdempotencyKey(t *testing.T) {
	s := start(t)
	ctx := context.Background()
	// A refused request does not use up its key.
	wantProblem(t, send(t, s.main, order11(`{"count":0}`, "Idempotency-Key: first")), http.StatusBadRequest)

	ids := make([]string, 32)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			status, id, err := s.postOrder(ctx, 7, "first")
			if err != nil || status != http.StatusAccepted {
				t.Errorf("status %d, error %v", status, err)
			}
			ids[i] = id
		})
	}
	all.Wait()
	again := func(when string) {
		t.Helper()
		if status, id, err := s.postOrder(ctx, 7, "first"); err != nil || status != http.StatusAccepted || id != ids[0] {
			t.Errorf("%s: status %d, order %s, error %v; want 202 and order %s", when, status, id, err, ids[0])
		}
		r := send(t, s.main, order11(`{"count":8}`, "Idempotency-Key: first"))
		wantProblem(t, r, http.StatusUnprocessableEntity)
	}
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("one key at once gave orders %s and %s", ids[0], id)
		}
	}
	again("again")
	s.kill()
	s.boot()
	s.awaitReady()
	again("after kill -9")
	if code, _ := s.terminate(45 * time.Second); code != 0 {
		t.Errorf("exit status %d", code)
	}
	s.boot()
	s.awaitReady()
	again("after a clean stop")
	s.mustComplete(ids[0], refusalLimit)
	again("when complete")
	if got := s.trace(); got != (trace{orders: 1, ordered: 7}) {
		t.Errorf("one key left %+v", got)
	}
}

// TestClassicCalls makes the calls of the classic demo.
func TestClassicCalls(t *testing.T) {
	s := start(t)
	r := send(t, s.main, request11("POST", "/order/4", "localhost", nil, ""))
	var placed struct {
		OrderID string `json:"order_id"`
	}
	if err := json.Unmarshal([]byte(r.body), &placed); err != nil || r.status != http.StatusOK || placed.OrderID == "" {
		t.Fatalf("POST /order/4: %d %s", r.status, r.body)
	}
	s.mustComplete(placed.OrderID, refusalLimit)
	var o struct {
		ID     string           `json:"id"`
		Count  int              `json:"count"`
		Pizzas []map[string]any `json:"pizzas"`
	}
	s.mustGet(s.main, "/order/"+placed.OrderID, &o)
	if o.ID != placed.OrderID || o.Count != 4 || len(o.Pizzas) != 4 {
		t.Errorf("GET /order/%s: %+v", placed.OrderID, o)
	}
}
