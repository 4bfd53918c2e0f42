package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// client keeps a handful of connections; its requests are bounded by their contexts.
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: 5 * time.Second}}

// orderDoc is an order as the API shows it.
type orderDoc struct {
	ID           string  `json:"id"`
	Count        int     `json:"count"`
	Status       string  `json:"status"`
	Completed    int     `json:"completed"`
	DeadLettered int     `json:"dead_lettered"`
	CreatedAt    string  `json:"created_at"`
	CompletedAt  *string `json:"completed_at"`
	Progress     []struct {
		Step  string `json:"step"`
		Count int    `json:"count"`
	} `json:"progress"`
	Pizzas    []map[string]any `json:"pizzas"`
	NextAfter *int             `json:"next_after"`
}

type orderList struct {
	Orders     []orderDoc `json:"orders"`
	NextBefore *string    `json:"next_before"`
}

type journalDoc struct {
	PizzaID string `json:"pizza_id"`
	Events  []struct {
		ID     string         `json:"id"`
		Topic  string         `json:"topic"`
		At     string         `json:"at"`
		Source string         `json:"source"`
		Replay int            `json:"replay"`
		Data   map[string]any `json:"data"`
	} `json:"events"`
}

// sources returns who says to have sent the events; an event that the ledger had
// to infer, and one without headers, has none.
func (j journalDoc) sources() []string {
	var sources []string
	for _, e := range j.Events {
		sources = append(sources, e.Source)
	}
	return sources
}

type letterDoc struct {
	ID          string            `json:"id"`
	Status      string            `json:"status"`
	PizzaID     *string           `json:"pizza_id"`
	OrderID     *string           `json:"order_id"`
	Topic       string            `json:"topic"`
	Module      string            `json:"module"`
	Error       string            `json:"error"`
	Kind        string            `json:"kind"`
	Attempts    int               `json:"attempts"`
	Requeues    int               `json:"requeues"`
	Fingerprint string            `json:"fingerprint"`
	Key         string            `json:"key"`
	Headers     map[string]string `json:"headers"`
	Body        string            `json:"body"`
}

// getJSON asks an address and decodes the answer, which must be 200.
func getJSON(ctx context.Context, addr, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("read GET %s: %w", path, err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", path, res.Status, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("decode GET %s: %w", path, err)
	}
	return nil
}

// mustGet is getJSON for answers that the test cannot do without.
func (s *server) mustGet(addr, path string, into any) {
	s.t.Helper()
	if err := getJSON(context.Background(), addr, path, into); err != nil {
		s.t.Fatal(err)
	}
}

// postOrder asks for an order and returns the answer's status and the ID it
// names. An error means that it is unknown whether the order was taken.
func (s *server) postOrder(ctx context.Context, count int, key string) (status int, id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	body := fmt.Sprintf(`{"count":%d}`, count)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.main+"/api/orders", strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	// The status is the promise: it counts even if the body is cut off.
	id = strings.TrimPrefix(res.Header.Get("Location"), "/api/orders/")
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode, id, nil
}

// mustOrder places an order that has to be taken.
func (s *server) mustOrder(count int) string {
	s.t.Helper()
	status, id, err := s.postOrder(context.Background(), count, "")
	if err != nil || status != http.StatusAccepted || id == "" {
		s.t.Fatalf("order %d: status %d, id %q, error %v", count, status, id, err)
	}
	return id
}

// allOrders lists every order there is, newest first.
func (s *server) allOrders(ctx context.Context) ([]orderDoc, error) {
	var all []orderDoc
	before := ""
	for {
		var page orderList
		path := "/api/orders?limit=1000"
		if before != "" {
			path += "&before=" + before
		}
		if err := getJSON(ctx, s.main, path, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Orders...)
		if page.NextBefore == nil {
			return all, nil
		}
		before = *page.NextBefore
	}
}

// wholeOrder returns an order with all its pizzas.
func (s *server) wholeOrder(ctx context.Context, id string) (orderDoc, error) {
	var whole orderDoc
	after := 0
	for {
		var page orderDoc
		path := fmt.Sprintf("/api/orders/%s?limit=1000&after=%d", id, after)
		if err := getJSON(ctx, s.main, path, &page); err != nil {
			return orderDoc{}, err
		}
		page.Pizzas = append(whole.Pizzas, page.Pizzas...)
		whole = page
		if page.NextAfter == nil {
			return whole, nil
		}
		after = *page.NextAfter
	}
}

// awaitOrder waits until an order has a status, told by its event stream.
func (s *server) awaitOrder(ctx context.Context, id string, statuses ...string) (orderDoc, error) {
	var last orderDoc
	err := s.stream(ctx, id, 0, "summary", func(e streamEvent) bool {
		if e.name == "order" {
			if err := json.Unmarshal([]byte(e.data), &last); err != nil {
				return false
			}
		}
		for _, status := range statuses {
			if last.Status == status {
				return false
			}
		}
		return true
	})
	if err != nil {
		return last, fmt.Errorf("wait for order %s to be %v, last seen %s with %d of %d: %w",
			id, statuses, last.Status, last.Completed, last.Count, err)
	}
	return last, nil
}

// mustComplete waits until an order is complete.
func (s *server) mustComplete(id string, limit time.Duration) orderDoc {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	o, err := s.awaitOrder(ctx, id, "complete")
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}

// streamEvent is one server-sent event; id is 0 if it has none.
type streamEvent struct {
	id   int64
	name string
	data string
}

// errStreamCut means that a stream stopped without its end event.
var errStreamCut = errors.New("the stream was cut")

// stream reads an order's events after a resumption ID until each returns
// false or the end event has come. Any other end is an error.
func (s *server) stream(ctx context.Context, id string, after int64, detail string, each func(streamEvent) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	url := "http://" + s.main + "/api/orders/" + id + "/events"
	if detail != "" {
		url += "?detail=" + detail
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if after > 0 {
		req.Header.Set("Last-Event-ID", strconv.FormatInt(after, 10))
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("events of %s: %s", id, res.Status)
	}
	return readEvents(ctx, res.Body, each)
}

func readEvents(ctx context.Context, r io.Reader, each func(streamEvent) bool) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	var e streamEvent
	for lines.Scan() {
		field, value, _ := bytes.Cut(lines.Bytes(), []byte(":"))
		text := strings.TrimPrefix(string(value), " ")
		switch string(field) {
		case "event":
			e.name = text
		case "data":
			e.data = text
		case "id":
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return fmt.Errorf("event ID %q is no number", text)
			}
			e.id = n
		}
		if lines.Text() != "" || e == (streamEvent{}) {
			continue
		}
		if !each(e) || e.name == "end" {
			return nil
		}
		e = streamEvent{}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errStreamCut
}

// errStalled means that an open stream had nothing new for a while.
var errStalled = errors.New("nothing new on the stream")

// readAll reads an order's numbered events from the first. Of an order that is
// not complete the stream stays open: it returns errStalled after a second of nothing.
func (s *server) readAll(ctx context.Context, o orderDoc, each func(e streamEvent, pizza, step string)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := 30 * time.Second
	if o.Status != "complete" {
		idle = time.Second
	}
	timer := time.AfterFunc(idle, func() { cancel(errStalled) })
	defer timer.Stop()
	var bad error
	err := s.stream(ctx, o.ID, 0, "", func(e streamEvent) bool {
		if e.id == 0 {
			return true
		}
		timer.Reset(idle)
		var pizza, step string
		if pizza, step, bad = e.subject(); bad != nil {
			return false
		}
		each(e, pizza, step)
		return true
	})
	if bad != nil {
		return bad
	}
	if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
		return cause
	}
	return err
}

// subject returns the pizza that an event is about and what happened to it:
// the stage's name, or the kind of event.
func (e streamEvent) subject() (pizza, step string, err error) {
	var d struct {
		ID      string `json:"id"` // of a complete one
		PizzaID string `json:"pizza_id"`
		Stage   string `json:"stage"`
	}
	if err := json.Unmarshal([]byte(e.data), &d); err != nil {
		return "", "", fmt.Errorf("data of event %d: %w", e.id, err)
	}
	switch e.name {
	case "complete":
		return d.ID, e.name, nil
	case "stage":
		return d.PizzaID, d.Stage, nil
	default:
		return d.PizzaID, e.name, nil
	}
}
