package testservice

import (
	"runtime"
	"testing"

	"github.com/jackc/pgx/v5"
	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// probe stands for a test that asks for a server, and keeps what became of it.
type probe struct {
	testing.TB
	skipped, failed bool
}

func (p *probe) Helper() {}

func (p *probe) Skipf(string, ...any) {
	p.skipped = true
	runtime.Goexit()
}

func (p *probe) Fatalf(string, ...any) {
	p.failed = true
	runtime.Goexit()
}

func TestAMissingServerSkipsOrFails(t *testing.T) {
	told := 0
	saved := announce
	announce = func(string) { told++ }
	t.Cleanup(func() {
		announce = saved
		missing.Clear()
	})
	for name, c := range map[string]struct {
		ci, services, address string
		skipped, failed       bool
	}{
		"there":               {address: "127.0.0.1:9092"},
		"missing":             {skipped: true},
		"missing again":       {skipped: true},
		"missing in CI":       {ci: "true", failed: true},
		"missing, required":   {services: "required", failed: true},
		"there, and required": {ci: "true", services: "required", address: "127.0.0.1:9092"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("CI", c.ci)
			t.Setenv("PIZZAMILL_TEST_SERVICES", c.services)
			t.Setenv("PIZZAMILL_TEST_KAFKA", c.address)
			p, got, done := &probe{TB: t}, "", make(chan struct{})
			go func() {
				defer close(done)
				got = Kafka(p)
			}()
			<-done
			if got != c.address || p.skipped != c.skipped || p.failed != c.failed {
				t.Errorf("address %q, skipped %v, failed %v", got, p.skipped, p.failed)
			}
		})
	}
	if told != 1 {
		t.Errorf("a person was told %d times about one missing server", told)
	}
}

func TestADatabaseOfItsOwnIsThereUntilTheTestEnds(t *testing.T) {
	server := Postgres(t)
	var dsn, name string
	t.Run("while it runs", func(t *testing.T) {
		dsn = Database(t)
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		name = conn.Config().Database
		if _, err := conn.Exec(t.Context(), "CREATE TABLE pizza (id int)"); err != nil {
			t.Error(err)
		}
		// Left open on purpose: a test that failed may leave connections behind.
		t.Cleanup(func() { _ = conn.Close(t.Context()) })
		if other := Database(t); other == dsn {
			t.Error("two databases of one name")
		}
	})
	conn, err := pgx.Connect(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	var left int
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_database WHERE datname = $1", name).Scan(&left); err != nil {
		t.Fatal(err)
	}
	if left != 0 {
		t.Errorf("database %s is still there", name)
	}
}

func TestAVHostOfItsOwnIsThereUntilTheTestEnds(t *testing.T) {
	var address string
	t.Run("while it runs", func(t *testing.T) {
		address = VHost(t)
		conn, err := amqp.Dial(address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		ch, err := conn.Channel()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ch.QueueDeclare("q", true, false, false, false, amqp.Table{"x-queue-type": "quorum"}); err != nil {
			t.Error(err)
		}
	})
	if conn, err := amqp.Dial(address); err == nil {
		_ = conn.Close()
		t.Error("the vhost is still there")
	}
}
