package e2e

import (
	"context"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
)

var update = flag.Bool("update", false, "write "+golden+" again, as the product makes the pizzas now")

// namedOrder is an order under an ID of ours.
type namedOrder struct {
	id    string
	count int
}

// orderUnder takes orders by a process whose broker is away, and then gives them
// their IDs in the database: the one place where these tests know its tables,
// since by design an order's ID is new each time.
func (c *cluster) orderUnder(orders ...namedOrder) {
	c.t.Helper()
	s := newServer(c.t, binary(c.t), append(slices.Clone(c.settings),
		"BUS_DRIVER=kafka", "KAFKA_BROKERS=127.0.0.1:1", "BUS_PREFIX=away.")...)
	s.args = []string{"serve", "--modules=" + ledgerModules}
	s.boot()
	s.awaitTaking()
	got := make([]string, len(orders))
	for i, o := range orders {
		got[i] = s.mustOrder(o.count)
	}
	if s.isReady(s.admin) {
		c.t.Errorf("%s: ready without its broker", s.name())
	}
	c.stop(s)
	driver, source, statement := "sqlite", c.setting("STORE_PATH"), "UPDATE orders SET id = ? WHERE id = ?"
	if c.store == "postgres" {
		driver, source, statement = "pgx", c.setting("STORE_DSN"), "UPDATE orders SET id = $1 WHERE id = $2"
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		c.t.Fatal(err)
	}
	defer db.Close()
	for i, o := range orders {
		if _, err := db.ExecContext(context.Background(), statement, o.id, got[i]); err != nil {
			c.t.Fatalf("name order %s: %v", o.id, err)
		}
	}
}

// golden are the pizzas of the IDs that are the same everywhere.
const golden = "testdata/pizzas.json"

// wantSame wants a pizza to be the one that is made of its ID everywhere. A
// cheese that Python makes has a menu of its own.
func (c *cell) wantSame(id string, got map[string]any) {
	c.t.Helper()
	want := goldenPizzas(c.t)[id]
	if len(want) == 0 {
		c.t.Errorf("%s has no pizza %s; made was %v", golden, id, got)
		return
	}
	for _, stage := range pipeline {
		made, _ := got[stage].(string)
		same := made == want[stage]
		if c.cheese != nil && stage == "cheese" {
			same = made != ""
		}
		if !same {
			c.t.Errorf("pizza %s has %s %q here and %q elsewhere", id, stage, made, want[stage])
		}
	}
}

func goldenPizzas(t testing.TB) map[string]map[string]string {
	t.Helper()
	var pizzas map[string]map[string]string
	text, err := os.ReadFile(golden)
	if err == nil {
		err = json.Unmarshal(text, &pizzas)
	}
	if err != nil {
		t.Fatalf("%s: %v", golden, err)
	}
	return pizzas
}

// updateGolden has the pizzas made in one process and keeps them.
func updateGolden(t *testing.T) {
	c := newCluster(t, "gochannel", "sqlite")
	order, _, _ := strings.Cut(nobodys, "-")
	orders := append(slices.Clone(aheadOrders), namedOrder{order, 1})
	c.orderUnder(orders...)
	c.start("all")
	pizzas := map[string]map[string]string{}
	for _, o := range orders {
		c.front().mustComplete(o.id, cellLimit)
		whole, err := c.front().wholeOrder(t.Context(), o.id)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range whole.Pizzas {
			made := map[string]string{}
			for _, stage := range pipeline {
				made[stage] = fmt.Sprint(p[stage])
			}
			pizzas[fmt.Sprint(p["id"])] = made
		}
	}
	c.stop(c.members...)
	text, err := json.MarshalIndent(pizzas, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(golden), 0o755)
	}
	if err == nil {
		err = os.WriteFile(golden, append(text, '\n'), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
