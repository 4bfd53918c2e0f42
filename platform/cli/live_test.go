package cli

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/pizzamill/pizzamill/internal/testservice"
	"github.com/pizzamill/pizzamill/platform/app"
)

// What topology prints of a broker is what the drivers call it there.
func TestNamesAreThoseOfTheDrivers(t *testing.T) {
	for driver, env := range map[string]func(t *testing.T) []string{
		"kafka": func(t *testing.T) []string {
			return []string{"PIZZAMILL_KAFKA_BROKERS=" + testservice.Kafka(t)}
		},
		"amqp": func(t *testing.T) []string {
			return []string{"PIZZAMILL_AMQP_URL=" + testservice.VHost(t)}
		},
	} {
		t.Run(driver, func(t *testing.T) {
			t.Chdir(t.TempDir())
			r := newRun(t, nil)
			r.openBus, r.queueArguments = app.OpenBus, app.QueueArguments
			r.env = append(env(t), "PIZZAMILL_BUS_DRIVER="+driver, "PIZZAMILL_BUS_PREFIX=names-", "PIZZAMILL_PIPELINE_STAGES=sauce,basil,meat", "PIZZAMILL_PIPELINE_EXTERNAL=basil")
			l, err := r.loadLine(&cobra.Command{})
			if err != nil {
				t.Fatal(err)
			}
			b, err := r.open(l.Config, l.pipeline)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			groups, err := b.Groups(ctx)
			if err != nil {
				t.Fatal(err)
			}
			var want, got []string
			for _, g := range groups {
				want = append(want, g.Group+" "+g.Name)
			}
			if top := r.topology(l); driver == "kafka" {
				for _, g := range top.Kafka.Groups {
					got = append(got, g.Module+" "+g.Name)
				}
			} else {
				for _, q := range top.AMQP.Queues {
					got = append(got, q.Module+" "+q.Name)
				}
			}
			slices.Sort(want)
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" || len(got) == 0 {
				t.Errorf("(-broker +printed):\n%s", diff)
			}
		})
	}
}

// doctor reads a real PostgreSQL and changes nothing there.
func TestAskPostgres(t *testing.T) {
	dsn := testservice.Database(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	db, err := askPostgres(ctx, "[store] dsn", dsn)
	if err != nil || db.records || time.Since(db.now).Abs() > time.Minute {
		t.Errorf("an empty database: %+v, %v", db, err)
	}
	t.Chdir(t.TempDir())
	r := newRun(t, nil)
	r.env = []string{"PIZZAMILL_STORE_DRIVER=postgres", "PIZZAMILL_STORE_DSN=" + dsn}
	line, err := r.loadLine(&cobra.Command{})
	if err != nil {
		t.Fatal(err)
	}
	if _, closeLedger, err := app.OpenLedgerReader(ctx, line.Config, line.pipeline, slog.New(slog.DiscardHandler)); err == nil {
		closeLedger()
		t.Error("a database without tables opens as a ledger")
	}
	if db, err := askPostgres(ctx, "[store] dsn", dsn); err != nil || db.records {
		t.Errorf("looking made the table: %+v, %v", db, err)
	}
}
