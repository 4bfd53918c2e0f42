package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// steadyLoad places orders at a steady pace with whichever process it meets,
// whatever happens to them meanwhile. Each order has a key, and is asked for
// under it again, of another process, until there is an answer.
type steadyLoad struct {
	b      *book
	fronts []*server // those that serve orders, up or not
	every  time.Duration
	orders int // how many it places at most

	stopping context.CancelFunc
	done     chan struct{}
}

// load starts a steady load on the processes that are there now.
func (c *cluster) load(b *book, orders int, every time.Duration) *steadyLoad {
	ctx, cancel := context.WithCancel(context.Background())
	l := &steadyLoad{b: b, fronts: c.fronts(), every: every, orders: orders, stopping: cancel, done: make(chan struct{})}
	go l.run(ctx)
	return l
}

func (l *steadyLoad) run(ctx context.Context) {
	defer close(l.done)
	tick := time.NewTicker(l.every)
	defer tick.Stop()
	for n := 0; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		again := l.b.takeOpen()
		if n < l.orders {
			n++
			again = append(again, request{count: 20 + rand.IntN(31), key: fmt.Sprintf("steady %d", n)})
		}
		for _, r := range again {
			// Not with the load's own context: an answer that is on its way counts.
			l.b.place(context.Background(), l.fronts[rand.IntN(len(l.fronts))], r)
		}
	}
}

// stop ends the load. What has no answer yet stays in the book.
func (l *steadyLoad) stop() {
	l.stopping()
	<-l.done
}

// balance scrapes processes in turn, and keeps each time that ordered was not
// completed + in flight + dead-lettered.
type balance struct {
	mu       sync.Mutex
	samples  int
	findings []string

	stopping context.CancelFunc
	done     chan struct{}
}

// watchBalance starts to scrape all processes that are there now and have the
// ledger. One that is down, or whose ledger is away, is passed over.
func (c *cluster) watchBalance(every time.Duration) *balance {
	ctx, cancel := context.WithCancel(context.Background())
	w := &balance{stopping: cancel, done: make(chan struct{})}
	ledgers := c.ledgers()
	go func() {
		defer close(w.done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			s := ledgers[i%len(ledgers)]
			if m, err := s.scrape(ctx); err == nil {
				w.add(s, m)
			}
		}
	}()
	return w
}

func (w *balance) add(s *server, m metrics) {
	if _, ok := m[`pizzamill_pizzas{state="ordered"}`]; !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.samples++
	if bad := m.unbalanced(); bad != "" {
		w.findings = append(w.findings, s.name()+": "+bad)
	}
}

func (w *balance) stop() {
	w.stopping()
	<-w.done
}

// mustTake places an order with a process, which has to take it, and writes it
// into the book.
func (b *book) mustTake(s *server, count int) string {
	b.t.Helper()
	b.mu.Lock()
	b.asked++
	r := request{count: count, key: fmt.Sprintf("must be taken %d", b.asked)}
	b.mu.Unlock()
	id, _ := b.place(context.Background(), s, r)
	if id == "" {
		b.t.Fatalf("%s did not take an order", s.name())
	}
	return id
}

// mustFinish waits until an order is complete, asking whoever is up again and
// again: streams break off when processes die.
func (c *cluster) mustFinish(id string, limit time.Duration) {
	c.t.Helper()
	ctx := context.Background()
	var o orderDoc
	poll(c.t, limit, "order "+id+" is complete", func() bool {
		for _, s := range c.fronts() {
			if err := getJSON(ctx, s.main, "/api/orders/"+id+"?limit=1", &o); err == nil {
				return o.Status == "complete"
			}
		}
		return false
	})
}

// wantNoLetters wants no dead letter of any status.
func (c *cluster) wantNoLetters() {
	c.t.Helper()
	if letters := c.ledgers()[0].letters("&status="); len(letters) > 0 {
		c.t.Errorf("%d dead letters of healthy work, the first: %+v", len(letters), letters[0])
	}
}

// The audit by SQL: each query counts what must not be there.
var forbiddenRows = map[string]string{
	"a step or an end of a pizza is there twice": `SELECT count(*) FROM (SELECT 1 FROM facts WHERE kind <> 3
		GROUP BY key >> 32, pizza, kind, step HAVING count(*) > 1) AS twice`,
	"a number of a stream is missing": `SELECT count(*) FROM orders o WHERE o.last_event <>
		(SELECT count(*) FROM facts f WHERE f.key >> 32 = o.seq)`,
	"an order has not as many complete pizzas as were ordered": `SELECT count(*) FROM orders o WHERE o.count <>
		(SELECT count(*) FROM pizzas p WHERE p.key >> 32 = o.seq AND p.status = 1) OR o.count <> o.completed`,
	"a pizza has no order, or a number that was not ordered": `SELECT count(*) FROM pizzas p
		LEFT JOIN orders o ON o.seq = p.key >> 32 WHERE o.seq IS NULL OR (p.key & 4294967295) NOT BETWEEN 1 AND o.count`,
	"a pizza is complete without its fact, or with two": `SELECT count(*) FROM pizzas p WHERE p.status = 1 AND 1 <>
		(SELECT count(*) FROM facts f WHERE f.key >> 32 = p.key >> 32 AND f.pizza = (p.key & 4294967295) AND f.kind = 2)`,
}

// queryer is a database, or a transaction in it.
type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// auditRows returns what the rows of a ledger whose orders are all complete have
// that they must not.
func auditRows(db queryer) (findings []string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for what, query := range forbiddenRows {
		var n int
		if err := db.QueryRowContext(ctx, query).Scan(&n); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		if n > 0 {
			findings = append(findings, fmt.Sprintf("%s: %d times", what, n))
		}
	}
	slices.Sort(findings)
	return findings, nil
}

// openRows opens the database of a cluster, beside its processes.
func (c *cluster) openRows() *sql.DB {
	c.t.Helper()
	driver, source := "pgx", c.setting("STORE_DSN")
	if c.store == "sqlite" {
		driver, source = "sqlite", "file:"+c.setting("STORE_PATH")+"?_pragma=busy_timeout(10000)"
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { db.Close() })
	return db
}

// wantCleanRows audits the rows, and proves the audit: with a row too many, and
// then with one too few, in a transaction that is rolled back, it finds something.
func (c *cluster) wantCleanRows() {
	c.t.Helper()
	db := c.openRows()
	findings, err := auditRows(db)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range findings {
		c.t.Errorf("the rows: %s", f)
	}
	for _, damage := range []string{
		`INSERT INTO facts (key, pizza, kind, step, source, body, at)
			SELECT (key >> 32 << 32) + 4000000000, pizza, kind, step, source, body, at FROM facts WHERE kind = 1 LIMIT 1`,
		`DELETE FROM pizzas WHERE key = (SELECT max(key) FROM pizzas)`,
	} {
		tx, err := db.BeginTx(context.Background(), nil)
		if err != nil {
			c.t.Fatal(err)
		}
		if _, err := tx.ExecContext(context.Background(), damage); err != nil {
			c.t.Fatalf("damage the rows: %v", err)
		}
		seen, err := auditRows(tx)
		if err != nil || len(seen) == 0 {
			c.t.Errorf("the audit by SQL finds nothing wrong (%v) after: %s", err, damage)
		}
		if err := tx.Rollback(); err != nil {
			c.t.Error(err)
		}
	}
}

// settled asks for every answer that is still missing, until there is one.
func (c *cluster) settled(b *book) {
	c.t.Helper()
	ctx := context.Background()
	poll(c.t, 30*time.Second, "every order has its answer", func() bool {
		for _, r := range b.takeOpen() {
			b.place(ctx, c.front(), r)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.open) == 0
	})
}

// readyz returns what the admin probe of a process says: nothing if it is ready.
func (s *server) readyz(t testing.TB) string {
	t.Helper()
	r := send(t, s.admin, request11("GET", "/readyz", s.admin, nil, ""))
	if r.status == http.StatusOK {
		return ""
	}
	return r.body
}
