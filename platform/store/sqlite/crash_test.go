package sqlite_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
	"github.com/pizzamill/pizzamill/platform/store/sqlite"
)

// childEnv names the database that a process of this test binary is to write to
// until it is killed.
const childEnv = "STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		writeUntilKilled(path)
	}
	goleak.VerifyTestMain(m)
}

func newLedger(db store.Driver) *store.Ledger {
	p, err := event.NewPipeline("sauce", "cheese")
	if err != nil {
		panic(err)
	}
	return store.New(db, store.Options{Pipeline: p})
}

// writeUntilKilled places orders and completes their pizzas, and prints each
// pizza when the ledger has said that it is written.
func writeUntilKilled(path string) {
	ctx := context.Background()
	db, err := sqlite.Open(ctx, path)
	if err != nil {
		panic(err)
	}
	l := newLedger(db)
	var out sync.Mutex
	for range 8 {
		go func() {
			for {
				o, _, err := l.PlaceOrder(ctx, 2, "")
				if err != nil {
					panic(err)
				}
				for n := 1; n <= 2; n++ {
					p := event.New(event.PizzaID{Order: o.ID, Number: n}, 0).With("sauce", "s").With("cheese", "c")
					if errs, err := l.Advance(ctx, []store.Fact{{Pizza: p.ID, Step: "cheese", At: time.Now(), Body: p.Body()}}); err != nil || errs != nil {
						panic(fmt.Sprint(errs, err))
					}
					out.Lock()
					fmt.Println(p.ID)
					out.Unlock()
				}
			}
		}()
	}
	select {}
}

func TestKilledProcessLosesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	var written []string
	for round := range 4 {
		written = append(written, runAndKill(t, path, 50*(round+1))...)
		checkUnopened(t, path)
		db := mustOpen(t, path) // the lock died with its process
		l := newLedger(db)
		for _, text := range written {
			id, err := event.ParsePizzaID(text)
			if err != nil {
				t.Fatal(err)
			}
			if p, err := l.Pizza(t.Context(), id); err != nil || p.Status != store.Complete {
				t.Errorf("pizza %s is %q, %v", text, p.Status, err)
			}
		}
		if err := l.Start(t.Context(), store.Process{ID: "p", Bus: "bus", Alone: true}); err != nil {
			t.Fatal(err)
		}
		if differences, err := l.Recount(t.Context()); err != nil || differences != nil {
			t.Errorf("recount: %q, %v", differences, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		mustClose(t, db)
	}
}

// checkUnopened reads a database as its process left it when it was killed.
func checkUnopened(t *testing.T, path string) {
	t.Helper()
	r, err := sqlite.OpenReader(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	l := newLedger(r)
	if differences, err := l.Recount(t.Context()); err != nil || differences != nil {
		t.Errorf("recount by a reader: %q, %v", differences, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	mustClose(t, r)
}

// runAndKill returns what a child said was written until it was killed, in the
// middle of its work, after about n lines.
func runAndKill(t *testing.T, path string, n int) []string {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+path)
	child.Stderr = os.Stderr
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	in := bufio.NewReader(stdout)
	for {
		line, err := in.ReadString('\n')
		if err != nil { // the line it was killed in is cut
			break
		}
		lines = append(lines, strings.TrimSpace(line))
		if len(lines) == n {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := child.Wait(); err == nil || len(lines) < n {
		t.Fatalf("the child ended by itself after %d lines: %v", len(lines), err)
	}
	return lines
}
