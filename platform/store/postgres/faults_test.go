package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pizzamill/pizzamill/internal/testservice"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/pg/pgtest"
	"github.com/pizzamill/pizzamill/platform/store"
	"github.com/pizzamill/pizzamill/platform/store/postgres"
)

// behind opens a database behind a proxy, and once more beside it.
func behind(t *testing.T) (db, beside *postgres.DB, proxy *pgtest.Proxy) {
	t.Helper()
	dsn := testservice.Database(t)
	proxy, through := pgtest.New(t, dsn)
	db, beside = open(t, through), open(t, dsn)
	t.Cleanup(func() {
		proxy.Restore()
		if err := errors.Join(db.Close(), beside.Close()); err != nil {
			t.Error(err)
		}
	})
	return db, beside, proxy
}

func read(db *postgres.DB) error {
	return db.View(context.Background(), func(tx store.ReadTx) error {
		_, err := tx.Totals()
		return err
	})
}

// A server that was restarted while nothing was asked is noticed by nobody.
func TestBrokenConnectionsAreReplaced(t *testing.T) {
	db, _, proxy := behind(t)
	for range 3 {
		var wg sync.WaitGroup
		for range 8 { // several readers in the pool
			wg.Go(func() {
				if err := read(db); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if err := db.Update(t.Context(), set("x")); err != nil {
			t.Error(err)
		}
		proxy.Break()
	}
	if err := db.Update(t.Context(), set("y")); err != nil {
		t.Errorf("first write after a restart: %v", err)
	}
	if err := read(db); err != nil {
		t.Errorf("first read after a restart: %v", err)
	}
}

func TestAServerThatIsAwayIsUnavailable(t *testing.T) {
	db, _, proxy := behind(t)
	proxy.Cut()
	for range 3 {
		if err := db.Update(t.Context(), set("x")); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("update: %v", err)
		}
		if err := read(db); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("view: %v", err)
		}
	}
	proxy.Restore()
	if err := errors.Join(db.Update(t.Context(), set("x")), read(db)); err != nil {
		t.Errorf("after it came back: %v", err)
	}
}

// A server that hangs keeps its connections, and nothing tells but time.
func TestAServerThatHangsIsNoticed(t *testing.T) {
	t.Parallel()
	db, _, proxy := behind(t)
	if err := errors.Join(db.Update(t.Context(), set("x")), read(db)); err != nil {
		t.Fatal(err)
	}
	proxy.Freeze()
	began := time.Now()
	var wg sync.WaitGroup
	for what, call := range map[string]func() error{
		"update": func() error { return db.Update(context.Background(), set("y")) },
		"view":   func() error { return read(db) },
	} {
		wg.Go(func() {
			if err := call(); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(began); took > 13*time.Second {
		t.Errorf("noticed after %v", took)
	}
	proxy.Restore()
	if err := errors.Join(db.Update(t.Context(), set("z")), read(db)); err != nil {
		t.Errorf("after it went on: %v", err)
	}
}

// A transaction that broke off left nothing, unless it was in its COMMIT: then
// it is not known, and everything that has a key may be repeated.
func TestALostCommitMayBeRepeated(t *testing.T) {
	db, beside, proxy := behind(t)
	p, err := event.NewPipeline("sauce")
	if err != nil {
		t.Fatal(err)
	}
	lost := &losing{DB: db, proxy: proxy}
	l, other := store.New(lost, store.Options{Pipeline: p}), store.New(beside, store.Options{Pipeline: p})
	defer func() {
		if err := errors.Join(l.Close(), other.Close()); err != nil {
			t.Error(err)
		}
	}()
	var base int64
	// again calls what loses its COMMIT's answer, waits until it is committed all
	// the same, and calls it once more.
	again := func(what string, committed func() bool, call func() error) {
		t.Helper()
		warmUp(t, l, what)
		base = ordered(t, other)
		lost.next = true
		errs := make(chan error, 1)
		go func() { errs <- call() }()
		eventually(t, what, committed)
		proxy.Break()
		if err := <-errs; !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
		if err := call(); err != nil {
			t.Errorf("%s, again: %v", what, err)
		}
	}
	ctx := context.Background()
	var o store.Order
	again("order", func() bool { return ordered(t, other) == base+1 }, func() (err error) {
		o, _, err = l.PlaceOrder(ctx, 1, "key")
		return err
	})
	body := event.New(event.PizzaID{Order: o.ID, Number: 1}, 0).With("sauce", "s")
	completed := func() bool {
		got, err := other.Order(ctx, o.ID)
		return err == nil && got.Completed == 1
	}
	again("fact", completed, func() error {
		errs, err := l.Advance(ctx, []store.Fact{{Pizza: body.ID, Step: "sauce", At: time.Now(), Body: body.Body()}})
		return errors.Join(append(errs, err)...)
	})
	d := someLetter("letter")
	again("letter", func() bool { _, err := other.DeadLetter(ctx, "letter"); return err == nil }, func() error { return l.AddDeadLetter(ctx, d) })
	if n := ordered(t, other); n != 4 { // three of them to warm up
		t.Errorf("%d pizzas are ordered", n)
	}
	if differences, err := other.Recount(ctx); err != nil || differences != nil {
		t.Errorf("recount: %q, %v", differences, err)
	}
}

func someLetter(id string) store.DeadLetter {
	now := time.Now()
	return store.DeadLetter{ID: id, Topic: "pizza", Module: "sauce", Kind: store.KindPoison, FirstFailed: now, LastFailed: now}
}

// warmUp has the statements prepared, so that each message is one round trip.
func warmUp(t *testing.T, l *store.Ledger, name string) {
	t.Helper()
	ctx := context.Background()
	o, _, err := l.PlaceOrder(ctx, 1, "warm up "+name)
	if err != nil {
		t.Fatal(err)
	}
	body := event.New(event.PizzaID{Order: o.ID, Number: 1}, 0).With("sauce", "s")
	errs, err := l.Advance(ctx, []store.Fact{{Pizza: body.ID, Step: "sauce", At: time.Now(), Body: body.Body()}})
	if err = errors.Join(append(errs, err, l.AddDeadLetter(ctx, someLetter("warm up "+name)))...); err != nil {
		t.Fatal(err)
	}
}

// losing loses the answer to the next COMMIT.
type losing struct {
	*postgres.DB
	proxy *pgtest.Proxy
	next  bool
}

func (d *losing) Update(ctx context.Context, fn func(store.Tx) error) error {
	return d.DB.Update(ctx, func(tx store.Tx) error {
		err := fn(tx)
		if d.next {
			d.next = false
			d.proxy.Swallow()
		}
		return err
	})
}

func ordered(t *testing.T, l *store.Ledger) int64 {
	t.Helper()
	totals, err := l.Totals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return totals.Ordered
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(10 * time.Second); !is(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

// What the server says about itself, and not about what was asked.
func TestServerErrorsAreUnavailable(t *testing.T) {
	dsn := testservice.Database(t)
	db := open(t, dsn)
	defer func() { _ = db.Close() }()
	t.Run("sessions are ended", func(t *testing.T) {
		err := db.Update(t.Context(), func(tx store.Tx) error {
			if _, err := tx.Meta("x"); err != nil {
				return err
			}
			shell(t, dsn, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
				WHERE datname = current_database() AND pid <> pg_backend_pid()`)
			_, err := tx.Meta("x")
			return err
		})
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("update: %v", err)
		}
		if err := errors.Join(db.Update(t.Context(), set("x")), read(db)); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
	t.Run("full disk", func(t *testing.T) {
		shell(t, dsn, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE SQLSTATE '53100'; END $$`)
		shell(t, dsn, `CREATE TRIGGER full_disk BEFORE INSERT ON orders EXECUTE FUNCTION refuse()`)
		err := db.Update(t.Context(), func(tx store.Tx) error {
			return tx.Write(&store.Changes{NewOrders: []*store.OrderRow{{ID: "a", Count: 1}}})
		})
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("update: %v", err)
		}
	})
	t.Run("no tables", func(t *testing.T) {
		shell(t, dsn, `DROP TABLE meta`)
		if err := db.Update(t.Context(), set("x")); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("update: %v", err)
		}
	})
	t.Run("read only", func(t *testing.T) {
		shell(t, dsn, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$`)
		restricted := open(t, dsn)
		defer func() { _ = restricted.Close() }()
		if err := restricted.Update(t.Context(), set("x")); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("update: %v", err)
		}
		if err := read(restricted); err != nil {
			t.Errorf("view: %v", err)
		}
	})
}

// A process that stands still in a transaction must not hold up the others.
func TestAStoppedPeerIsPassedBy(t *testing.T) {
	t.Parallel()
	dsn := testservice.Database(t)
	db, peer := open(t, dsn), open(t, dsn)
	defer func() { _ = errors.Join(db.Close(), peer.Close()) }()
	p, err := event.NewPipeline("sauce")
	if err != nil {
		t.Fatal(err)
	}
	l := store.New(db, store.Options{Pipeline: p})
	defer func() { _ = l.Close() }()
	o, _, err := l.PlaceOrder(t.Context(), 1, "")
	if err != nil {
		t.Fatal(err)
	}
	locked, release, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- peer.Update(context.Background(), func(tx store.Tx) error {
			if _, err := tx.Orders([]string{o.ID}); err != nil {
				return err
			}
			err := tx.Write(&store.Changes{Meta: map[string]string{"value": "late"}, Totals: map[string]int64{"ordered": 100}})
			close(locked)
			<-release
			return err
		})
	}()
	<-locked
	// What every commit moves is never locked by one that stands still.
	began := time.Now()
	if _, _, err := l.PlaceOrder(t.Context(), 1, ""); err != nil || time.Since(began) > 3*time.Second {
		t.Errorf("order beside a stopped peer: %v after %v", err, time.Since(began))
	}
	body := event.New(event.PizzaID{Order: o.ID, Number: 1}, 0).With("sauce", "s")
	errs, err := l.Advance(t.Context(), []store.Fact{{Pizza: body.ID, Step: "sauce", At: time.Now(), Body: body.Body()}})
	if err != nil || errs != nil {
		t.Errorf("advance beside a stopped peer: %v, %v", errs, err)
	}
	close(release)
	if err := <-ended; !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("the peer wakes up: %v", err)
	}
	if got := value(t, db); got != "" {
		t.Errorf("the peer wrote %q", got)
	}
}

// Texts that others wrote may have anything in them.
func TestForeignTexts(t *testing.T) {
	db := open(t, testservice.Database(t))
	defer func() { _ = db.Close() }()
	nasty := "a\x00b\xff\xfe"
	d := store.DeadLetter{
		ID: "x", Status: store.LetterDead, Topic: nasty, Module: nasty, Error: nasty, Kind: nasty, Fingerprint: nasty,
		Key: nasty, Headers: map[string]string{"h\x00": "v\x00"}, Body: []byte(nasty), FirstFailed: time.UnixMilli(1), LastFailed: time.UnixMilli(2),
	}
	err := db.Update(t.Context(), func(tx store.Tx) error {
		return tx.Write(&store.Changes{
			Letters:   []*store.DeadLetter{&d},
			NewOrders: []*store.OrderRow{{ID: "o", Count: 1}},
			NewFacts:  []*store.FactRow{{FactKey: store.FactKey{Order: 1, Event: 1}, Kind: store.EventStage, Source: nasty, Body: []byte(nasty)}},
			Meta:      map[string]string{"value": nasty},
			NewKeys:   []*store.KeyRow{{Key: nasty, Order: "o", Count: 1}},
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(t.Context(), func(tx store.ReadTx) error {
		got, ok, err := tx.Letter("x")
		if err != nil || !ok || got.Key != nasty || string(got.Body) != nasty || got.Headers["h\x00"] != "v\x00" || got.Error != "a\uFFFDb\uFFFD" {
			t.Errorf("letter is %+v, %v", got, err)
		}
		for what, ask := range map[string]func() (int, error){
			"order":   func() (int, error) { rows, err := tx.Orders([]string{nasty, "o"}); return len(rows) - 1, err },
			"orders":  func() (int, error) { _, err := tx.OrdersBefore(nasty, 1); return 0, err },
			"no such": func() (int, error) { _, ok, err := tx.Letter(nasty); return map[bool]int{true: 1}[ok], err },
			"letters": func() (int, error) {
				rows, err := tx.LettersAfter(store.LetterFilter{Module: nasty, Topic: nasty}, nasty, 1)
				return len(rows), err
			},
		} {
			if n, err := ask(); err != nil || n != 0 {
				t.Errorf("%s: %d, %v", what, n, err)
			}
		}
		facts, err := tx.Facts([]store.FactKey{{Order: 1, Event: 1}})
		if err != nil || len(facts) != 1 || string(facts[0].Body) != nasty {
			t.Errorf("fact is %+v, %v", facts, err)
		}
		return nil
	})
	if err != nil {
		t.Error(fmt.Errorf("view: %w", err))
	}
}
