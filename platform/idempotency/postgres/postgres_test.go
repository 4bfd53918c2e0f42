package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/pizzamill/pizzamill/internal/testservice"
	"github.com/pizzamill/pizzamill/platform/idempotency"
	"github.com/pizzamill/pizzamill/platform/idempotency/postgres"
	"github.com/pizzamill/pizzamill/platform/pg"
	"github.com/pizzamill/pizzamill/platform/pg/pgtest"
	ledger "github.com/pizzamill/pizzamill/platform/store/postgres"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const week = 168 * time.Hour

// open is a process with the records in a database.
func open(t testing.TB, dsn string, log *slog.Logger) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(dsn, week, log)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// onBus is what a stage asks about the events of one bus.
type onBus struct {
	idempotency.Records
	bus string
}

func on(bus string, r idempotency.Records) idempotency.Records { return onBus{r, bus} }

func (r onBus) Begin(ctx context.Context, _, id string) (bool, func(bool), error) {
	return r.Records.Begin(ctx, r.bus, id)
}

// handle handles one event and reports whether it was new.
func handle(t testing.TB, r idempotency.Records, id string, ok bool) bool {
	t.Helper()
	processed, end, err := r.Begin(context.Background(), "bus", id)
	if err != nil {
		t.Fatal(err)
	}
	if processed {
		return false
	}
	end(ok)
	return true
}

func TestOnlySuccessIsRecordedAndForAllProcesses(t *testing.T) {
	dsn := testservice.Database(t)
	quiet := slog.New(slog.DiscardHandler)
	first, second := open(t, dsn, quiet), open(t, dsn, quiet)
	a, b := on("kafka//1", first.Records("sauce")), on("kafka//1", second.Records("sauce"))
	for _, c := range []struct {
		what string
		r    idempotency.Records
		ok   bool
		want bool
	}{
		{"first", a, false, true},
		{"after a failure", b, false, true},
		{"again", a, true, true},
		{"after success, here", a, true, false},
		{"after success, there", b, true, false},
		{"another stage", on("kafka//1", second.Records("cheese")), true, true},
		{"another bus", on("kafka//2", second.Records("sauce")), true, true},
		{"a process that starts", on("kafka//1", open(t, dsn, quiet).Records("sauce")), true, false},
	} {
		if got := handle(t, c.r, "o-1/pizza", c.ok); got != c.want {
			t.Errorf("%s: new is %v, want %v", c.what, got, c.want)
		}
	}
}

// A record must live exactly as long as what the transport holds: records of a
// bus that was replaced say nothing about the events of the new one.
func TestRecordsAreThoseOfTheBus(t *testing.T) {
	db := open(t, testservice.Database(t), slog.New(slog.DiscardHandler))
	r := db.Records("sauce")
	for range 2 {
		for _, name := range []string{"kafka//1", "kafka//2"} {
			handle(t, on(name, r), "o-1/pizza", true)
			if handle(t, on(name, r), "o-1/pizza", true) {
				t.Errorf("%s: processed again", name)
			}
		}
	}
	if !handle(t, on("kafka//3", r), "o-1/pizza", true) {
		t.Error("the record of another bus was taken for this one's")
	}
}

func TestCopiesWaitForTheOneInHand(t *testing.T) {
	r := on("bus", open(t, testservice.Database(t), slog.New(slog.DiscardHandler)).Records("sauce"))
	var runs atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if handle(t, r, "o-1/pizza", true) {
				runs.Add(1)
			}
		})
	}
	wg.Wait()
	if runs.Load() != 1 {
		t.Errorf("ran %d times", runs.Load())
	}
	_, end, err := r.Begin(t.Context(), "bus", "o-2/pizza")
	if err != nil {
		t.Fatal(err)
	}
	defer end(false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := r.Begin(ctx, "bus", "o-2/pizza"); !errors.Is(err, context.Canceled) {
		t.Errorf("wait for another copy: %v", err)
	}
}

// Two processes that record the same events in opposite order do not wait for
// each other.
func TestManyAtOnce(t *testing.T) {
	dsn := testservice.Database(t)
	const events, lanes = 400, 64
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	var wg sync.WaitGroup
	var answers [2]atomic.Int32
	var dbs []*postgres.DB
	for p := range 2 {
		db := open(t, dsn, logger)
		dbs = append(dbs, db)
		r := on("bus", db.Records("sauce"))
		for lane := range lanes {
			wg.Go(func() {
				for i := lane; i < events; i += lanes {
					n := i
					if p == 1 {
						n = events - 1 - i
					}
					if handle(t, r, fmt.Sprintf("o-%d/pizza", n), true) {
						answers[p].Add(1)
					}
				}
			})
		}
	}
	wg.Wait()
	if sum := answers[0].Load() + answers[1].Load(); sum < events || sum > 2*events {
		t.Errorf("%d of %d events were new", sum, events)
	}
	for _, db := range dbs {
		r := on("bus", db.Records("sauce"))
		for n := range events {
			if handle(t, r, fmt.Sprintf("o-%d/pizza", n), true) {
				t.Fatalf("event %d has no record", n)
			}
		}
	}
	if log.Len() > 0 {
		t.Errorf("logged: %s", log.String())
	}
}

// lines is a log that may be read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Losing a record costs a duplicate, never a pizza: a stage waits before it
// begins, and not for long when it has published.
func TestDatabaseIsAway(t *testing.T) {
	proxy, dsn := pgtest.New(t, testservice.Database(t))
	var log lines
	db := open(t, dsn, slog.New(slog.NewTextHandler(&log, nil)))
	r := on("bus", db.Records("sauce"))
	handle(t, r, "o-0/pizza", true)
	_, end, err := r.Begin(t.Context(), "bus", "o-1/pizza")
	if err != nil {
		t.Fatal(err)
	}
	proxy.Cut()
	if _, _, err := r.Begin(t.Context(), "bus", "o-2/pizza"); err == nil {
		t.Error("an event was taken while the records are away")
	}
	if db.Check(t.Context()) == nil {
		t.Error("ready while the records are away")
	}
	if processed, _, err := r.Begin(t.Context(), "bus", "o-0/pizza"); err != nil || !processed {
		t.Errorf("what the process knows by itself: %v, %v", processed, err)
	}
	began := time.Now()
	end(true)
	if took := time.Since(began); took < time.Second || took > 4*time.Second {
		t.Errorf("gave a record up after %v", took)
	}
	if !strings.Contains(log.String(), "are lost") || strings.Contains(log.String(), "pizzamill:pizzamill") {
		t.Errorf("log is %q", log.String())
	}
	_, end, err = r.Begin(t.Context(), "bus", "o-1/pizza")
	if err != nil || end != nil {
		t.Errorf("what this process did is known to it: %v", err)
	}
	proxy.Restore()
	eventually(t, "records are back", func() bool {
		_, end, err := r.Begin(t.Context(), "bus", "o-3/pizza")
		if end != nil {
			end(true)
		}
		return err == nil
	})
	// Short enough to be bridged.
	_, end, err = r.Begin(t.Context(), "bus", "o-4/pizza")
	if err != nil {
		t.Fatal(err)
	}
	proxy.Cut()
	time.AfterFunc(300*time.Millisecond, proxy.Restore)
	end(true)
	if handle(t, on("bus", open(t, dsn, slog.New(slog.DiscardHandler)).Records("sauce")), "o-4/pizza", true) {
		t.Error("a record was lost in a short interruption")
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(10 * time.Second); !is(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

func TestOpenAndPrepare(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	if _, err := postgres.Open("postgres://u:s3cr3t@h:x/", week, quiet); err == nil || strings.Contains(err.Error(), "s3cr3t") || !strings.Contains(err.Error(), "[idempotency] dsn") {
		t.Errorf("open: %v", err)
	}
	unready, err := postgres.Open("postgres://u:s3cr3t@127.0.0.1:1/db", week, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if err := unready.Prepare(t.Context()); err == nil || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("prepare: %v", err)
	}
	if _, _, err := on("bus", unready.Records("sauce")).Begin(t.Context(), "bus", "o-1/pizza"); err == nil {
		t.Error("an event was taken before the records were reached")
	}
	if err := errors.Join(unready.Close(), unready.Close()); err != nil {
		t.Error(err)
	}
	if err := unready.Prepare(t.Context()); err == nil {
		t.Error("prepared after it was closed")
	}
}

// The ledger and the records may share a database or not, and several processes
// of both kinds start at once.
func TestSharesADatabaseWithTheLedger(t *testing.T) {
	dsn := testservice.Database(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { open(t, dsn, slog.New(slog.DiscardHandler)) })
		wg.Go(func() {
			db, err := ledger.Open(dsn, false)
			if err == nil {
				err = errors.Join(db.Prepare(t.Context()), db.Close())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	exec(t, dsn, `INSERT INTO pizzamill_idempotency_version (version_id, is_applied) VALUES (999, true)`)
	newer, err := postgres.Open(dsn, week, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = newer.Close() }()
	var e *pg.NewerError
	if err := newer.Prepare(t.Context()); !errors.As(err, &e) || e.Have != 999 {
		t.Errorf("prepare: %v", err)
	}
}

func exec(t testing.TB, dsn, sql string, args ...any) {
	t.Helper()
	c, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	if _, err := c.Exec(context.Background(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func TestOldRecordsAreForgottenInBites(t *testing.T) {
	dsn := testservice.Database(t)
	db := open(t, dsn, slog.New(slog.DiscardHandler))
	r := on("bus", db.Records("sauce"))
	for n := range 25 {
		handle(t, r, fmt.Sprintf("o-%d/pizza", n), true)
	}
	exec(t, dsn, `UPDATE processed_events SET at = now() - interval '169 hours' WHERE event <> 'o-7/pizza'`)
	exec(t, dsn, `UPDATE processed_events SET at = now() - interval '167 hours' WHERE event = 'o-8/pizza'`)
	if err := db.Forget(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	again := on("bus", open(t, dsn, slog.New(slog.DiscardHandler)).Records("sauce"))
	for n := range 25 {
		young := n == 7 || n == 8
		if got := handle(t, again, fmt.Sprintf("o-%d/pizza", n), false); got == young {
			t.Errorf("record %d: forgotten is %v", n, got)
		}
	}
}

func TestCloseAnswersEverybody(t *testing.T) {
	proxy, dsn := pgtest.New(t, testservice.Database(t))
	db := open(t, dsn, slog.New(slog.DiscardHandler))
	r := on("bus", db.Records("sauce"))
	handle(t, r, "o-0/pizza", true)
	var ends []func(bool)
	for n := range 8 {
		_, end, err := r.Begin(t.Context(), "bus", fmt.Sprintf("o-1%d/pizza", n))
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end)
	}
	proxy.Cut()
	var wg sync.WaitGroup
	for _, end := range ends {
		wg.Go(func() { end(true) })
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if _, _, err := r.Begin(t.Context(), "bus", "o-2/pizza"); err == nil {
		t.Error("an event was taken after the records were closed")
	}
}

// BenchmarkStage is what the records cost a stage with 64 lanes.
func BenchmarkStage(b *testing.B) {
	r := on("bus", open(b, testservice.Database(b), slog.New(slog.DiscardHandler)).Records("sauce"))
	var n atomic.Int64
	b.SetParallelism(32) // times two processors
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			handle(b, r, fmt.Sprintf("06h1awx32wrd84qr-%d/pizza-with-sauce", n.Add(1)), true)
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
