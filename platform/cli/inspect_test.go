package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pizzamill/pizzamill/platform/app"
	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/config"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

// fakeBroker stands for all brokers; a bus is looked at through fakeBus.
type fakeBroker struct {
	err     error          // of every question
	differs error          // what exists and is not what the line needs
	idle    []string       // modules without a live consumer
	missing []string       // modules whose groups do not exist
	former  map[string]int // prefixes of former lines, and their live consumers
	queues  []string       // what the broker lists
	listErr error
	parts   map[string]int
	closed  int
	opened  int
}

type fakeBus struct {
	bus.Bus
	*fakeBroker
	driver, prefix string
	declared       []bus.Subscription
}

func (b *fakeBroker) open(c config.Config, _ *slog.Logger) (bus.Bus, error) {
	b.opened++
	opened := &fakeBus{fakeBroker: b, driver: c.Bus.Driver, prefix: c.Bus.Prefix}
	if c.Bus.Driver == "amqp" {
		return &fakeRabbit{opened}, nil
	}
	return &fakeKafka{opened}, nil
}

// fakeKafka and fakeRabbit are what only one of the brokers can be asked.
type (
	fakeKafka  struct{ *fakeBus }
	fakeRabbit struct{ *fakeBus }
)

var (
	_ partitioned = (*fakeKafka)(nil)
	_ comparer    = (*fakeRabbit)(nil)
	_ lister      = (*fakeRabbit)(nil)
)

func (b *fakeKafka) Partitions(context.Context) (map[string]int, error) { return b.parts, nil }
func (b *fakeRabbit) Queues(context.Context) ([]string, error)          { return b.queues, b.listErr }
func (b *fakeRabbit) Conflicts(context.Context) error                   { return b.differs }

func (b *fakeBus) Declare(subs []bus.Subscription) { b.declared = subs }

func (b *fakeBus) Close() error {
	b.closed++
	return nil
}

func (b *fakeBus) Identity(context.Context) (string, error) {
	cluster := "c1"
	if b.driver == "amqp" {
		cluster = "rabbit@h//"
	}
	return b.driver + "/" + b.prefix + "/" + cluster, b.err
}

func (b *fakeBus) Groups(context.Context) ([]bus.Group, error) {
	var groups []bus.Group
	for _, s := range b.declared {
		g := bus.Group{Subscription: s, Name: b.prefix + s.Topic + "." + s.Group, Exists: true, Consumers: 1}
		if b.prefix != "" {
			g.Consumers, g.Exists = b.former[b.prefix], false
			_, g.Exists = b.former[b.prefix]
		}
		if slices.Contains(b.missing, s.Group) {
			g.Exists, g.Consumers = false, 0
		}
		if slices.Contains(b.idle, s.Group) {
			g.Consumers = 0
		}
		groups = append(groups, g)
	}
	return groups, b.err
}

// fakeLedger is a ledger with what it remembers.
type fakeLedger struct {
	err         error // of opening it
	busesErr    error
	bus         string
	buses       []store.Bus
	processes   []store.ProcessState
	differences []string
	closed      int
}

var _ ledger = (*fakeLedger)(nil)

func (l *fakeLedger) open(context.Context, config.Config, event.Pipeline, *slog.Logger) (ledger, func(), error) {
	return l, func() { l.closed++ }, l.err
}

func (l *fakeLedger) Bus(context.Context) (string, error)        { return l.bus, nil }
func (l *fakeLedger) Buses(context.Context) ([]store.Bus, error) { return l.buses, l.busesErr }
func (l *fakeLedger) Recount(context.Context) ([]string, error)  { return l.differences, nil }
func (l *fakeLedger) Processes(context.Context) ([]store.ProcessState, error) {
	return l.processes, nil
}

var defaultStages = []string{"sauce", "cheese", "meat", "veggies"}

func formerBus(identity, prefix string, stages ...string) store.Bus {
	driver, _, _ := strings.Cut(identity, "/")
	return store.Bus{Identity: identity, Driver: driver, Prefix: prefix, Stages: stages}
}

// inspection is one run of a command that looks at a line from outside.
type inspection struct {
	name, args  string
	env         []string
	broker      fakeBroker
	ledger      fakeLedger
	database    database
	databaseErr error
	handler     http.Handler
	code        int
}

func (c *inspection) run(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	r := newRun(t, c.handler)
	r.env = c.env
	r.openBus, r.openLedger = c.broker.open, c.ledger.open
	r.queueArguments = func(c config.Config) map[string]any { return map[string]any{"x-queue-type": c.AMQP.QueueType} }
	r.askPostgres = func(context.Context, string, string) (database, error) { return c.database, c.databaseErr }
	args := strings.Fields(c.args)
	code := r.run(t.Context(), args)
	if code != c.code {
		t.Errorf("exit code %d, want %d", code, c.code)
	}
	if strings.Contains(r.stdout.String()+r.stderr.String(), "hunter2") {
		t.Error("a secret is shown")
	}
	if c.broker.closed != c.broker.opened {
		t.Errorf("%d of %d buses were closed", c.broker.closed, c.broker.opened)
	}
	golden(t, c.name, r.transcript(args, code))
}

var (
	onKafka = "PIZZAMILL_BUS_DRIVER=kafka"
	onAMQP  = "PIZZAMILL_BUS_DRIVER=amqp"
	errGone = errors.New("dial tcp 127.0.0.1:9092: connect: connection refused")
)

func TestTopologyCheck(t *testing.T) {
	gochannel := func(running string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/api/topology" || r.Header.Get("Authorization") != "Bearer hunter2" {
				http.Error(w, r.URL.Path, http.StatusTeapot)
			}
			fmt.Fprintf(w, `{"bus":"gochannel","modules":[{"name":"sauce","consumes":["pizza"],"running":%s},{"name":"ui","consumes":[],"running":false}]}`, running)
		})
	}
	for _, c := range []inspection{
		{name: "check", args: "topology --check", env: []string{onKafka}},
		{name: "check json", args: "topology --check -o json", env: []string{onKafka}},
		{name: "check amqp", args: "topology --check", env: []string{onAMQP}, ledger: fakeLedger{err: fmt.Errorf("store: %w", fs.ErrNotExist)}},
		{
			name: "check idle", args: "topology --check", env: []string{onKafka, "PIZZAMILL_PIPELINE_EXTERNAL=cheese"}, code: 1,
			broker: fakeBroker{idle: []string{"meat", "journal"}, missing: []string{"cheese"}},
		},
		{
			name: "check idle on PostgreSQL", args: "topology --check", code: 1, broker: fakeBroker{idle: []string{"journal", "veggies"}},
			env: []string{onKafka, "PIZZAMILL_STORE_DRIVER=postgres", "PIZZAMILL_STORE_DSN=postgres://u:hunter2@h/d"},
		},
		{name: "check idle json", args: "topology --check -o json", env: []string{onKafka}, broker: fakeBroker{idle: []string{"meat"}}, code: 1},
		{
			name: "check left over", args: "topology --check", env: []string{onKafka},
			broker: fakeBroker{former: map[string]int{"old-": 0, "busy-": 3}},
			ledger: fakeLedger{buses: []store.Bus{
				formerBus("amqp/gone-/rabbit@h//", "gone-", defaultStages...),
				formerBus("kafka//c1", "", defaultStages...), // this one
				formerBus("kafka//c0", "", defaultStages...),
				formerBus("kafka/busy-/c1", "busy-", "sauce"),
				formerBus("kafka/old-/c1", "old-", "sauce", "basil"),
				formerBus("kafka/removed-/c1", "removed-", "sauce"),
			}},
		},
		{
			name: "check left over amqp", args: "topology --check", env: []string{onAMQP, "PIZZAMILL_AMQP_URL=amqp://u:hunter2@h/my%20vhost"},
			broker: fakeBroker{former: map[string]int{"old-": 0}, queues: []string{"pizza.sauce", "pizza-with-meat.basil", "pizza-with-meat.b/asil", "other.sauce", "old-pizza.sauce"}},
			ledger: fakeLedger{buses: []store.Bus{formerBus("amqp/old-/rabbit@h//", "old-", "sauce")}},
		},
		{name: "check unreachable", args: "topology --check", env: []string{onKafka}, broker: fakeBroker{err: errGone}, code: 4},
		{name: "check hangs", args: "topology --check -o json", env: []string{onAMQP}, broker: fakeBroker{err: context.DeadlineExceeded}, code: 4},
		{name: "check conflict", args: "topology --check", env: []string{onAMQP}, broker: fakeBroker{err: &bus.ConflictError{What: "queue pizza.sauce", Have: "x-queue-type classic", Want: "x-queue-type quorum"}}, code: 3},
		{
			name: "check ledger away", args: "topology --check", env: []string{onKafka}, code: 4,
			ledger: fakeLedger{err: fmt.Errorf("store: %w: connection refused", store.ErrUnavailable)},
		},
		{
			name: "check ledger away json", args: "topology --check -o json", env: []string{onKafka}, code: 4,
			ledger: fakeLedger{busesErr: context.DeadlineExceeded},
		},
		{
			name: "check ledger away and idle", args: "topology --check", env: []string{onKafka}, code: 1,
			broker: fakeBroker{idle: []string{"meat"}}, ledger: fakeLedger{err: store.ErrUnavailable},
		},
		{name: "check ledger of another version", args: "topology --check", env: []string{onKafka}, ledger: fakeLedger{err: errors.New("it has schema 9 and this pizzamill knows only up to 2")}},
		{
			name: "check management refuses", args: "topology --check", env: []string{onAMQP}, code: 4,
			broker: fakeBroker{listErr: errors.New("the management API answers 401 Unauthorized")},
		},
		{
			name: "check mermaid", args: "topology --check -o mermaid --bus kafka", code: 1,
			broker: fakeBroker{idle: []string{"meat"}},
		},
		{name: "check gochannel", args: "topology --check", handler: gochannel("true"), env: []string{"PIZZAMILL_ADMIN_TOKEN=hunter2"}},
		{name: "check gochannel idle", args: "topology --check", handler: gochannel("false"), env: []string{"PIZZAMILL_ADMIN_TOKEN=hunter2"}, code: 1},
		{name: "check gochannel unreachable", args: "topology --check", code: 4},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t) })
	}
}

func TestTopologyOfBrokers(t *testing.T) {
	external := []string{"PIZZAMILL_PIPELINE_STAGES=sauce,basil", "PIZZAMILL_PIPELINE_EXTERNAL=basil", "PIZZAMILL_BUS_PREFIX=p-"}
	for _, c := range []inspection{
		{name: "topology external", args: "topology", env: append([]string{onKafka}, external...)},
		{name: "topology kafka", args: "topology -o json", env: append([]string{onKafka}, external...)},
		{name: "topology amqp", args: "topology -o json", env: append([]string{onAMQP}, external...)},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t) })
	}
}

func TestLag(t *testing.T) {
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/lag" || r.Host != "127.0.0.1:8081" {
			http.Error(w, r.Host+r.URL.Path, http.StatusTeapot)
		}
		fmt.Fprint(w, "{\"groups\":[{\"module\":\"sauce\",\"topic\":\"pizza\",\"lag\":3},\n{\"module\":\"journal\",\"topic\":\"pizza\",\"lag\":12000}]}")
	})
	guarded := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer hunter2" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		fmt.Fprint(w, `{"groups":[]}`)
	})
	problem := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"status":503,"detail":"this cannot be answered now; try again"}`)
	})
	for _, c := range []inspection{
		{name: "lag", args: "lag", handler: answer},
		{name: "lag json", args: "lag -o json", handler: answer},
		{name: "lag of stages", args: "lag", handler: answer, env: []string{onKafka, "PIZZAMILL_APP_MODULES=sauce"}},
		{name: "lag with token", args: "lag --admin http://127.0.0.1:8081/", handler: guarded, env: []string{"PIZZAMILL_ADMIN_TOKEN=hunter2"}},
		{name: "lag without token", args: "lag", handler: guarded, code: 1},
		{name: "lag unreachable", args: "lag", code: 4},
		{name: "lag unknown", args: "lag", handler: problem, code: 4},
		{name: "lag nonsense", args: "lag", handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "[]") }), code: 1},
		{name: "lag free port", args: "lag", env: []string{"PIZZAMILL_ADMIN_LISTEN=127.0.0.1:0"}, code: 2},
		{name: "lag bad configuration", args: "lag --admin http://127.0.0.1:8081", env: []string{"PIZZAMILL_LOG_LEVEL=x"}, code: 3},
		{name: "help lag", args: "lag --help"},
		{name: "help doctor", args: "doctor --help"},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t) })
	}
}

func TestDoctor(t *testing.T) {
	ready := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	all := map[string]int{"pizza": 8, "pizza-with-sauce": 8, "pizza-with-cheese": 8, "pizza-with-meat": 8, "pizza-with-veggies": 8, "pizza-dead-letters": 8}
	healthy := fakeLedger{
		bus: "kafka//c1", buses: []store.Bus{formerBus("kafka//c1", "", defaultStages...)},
		processes: []store.ProcessState{{Name: "process 7 on h (pizza)", Bus: "kafka//c1", Alive: true}},
	}
	pg := []string{onKafka, "PIZZAMILL_STORE_DRIVER=postgres", "PIZZAMILL_STORE_DSN=postgres://u:hunter2@h/d"}
	management := []string{onAMQP, "PIZZAMILL_AMQP_MANAGEMENT_URL=http://u:hunter2@h:15672"}
	for _, c := range []inspection{
		{name: "doctor", args: "doctor", handler: ready, ledger: fakeLedger{bus: "gochannel//x"}},
		{name: "doctor before the first start", args: "doctor", ledger: fakeLedger{err: fs.ErrNotExist}},
		{name: "doctor kafka", args: "doctor", env: pg, broker: fakeBroker{parts: all}, ledger: healthy, database: database{records: true}},
		{name: "doctor json", args: "doctor -o json", env: []string{onKafka}, broker: fakeBroker{parts: all, idle: []string{"meat"}}, ledger: healthy},
		{
			name: "doctor warns", args: "doctor", env: pg,
			broker: fakeBroker{parts: map[string]int{"pizza": 3, "pizza-with-sauce": 8}, idle: []string{"journal"}, missing: []string{"meat"}},
			ledger: fakeLedger{bus: "kafka/old-/c1", processes: []store.ProcessState{
				{Name: "process 7 on h", Bus: "kafka/old-/c1", Alive: true}, {Name: "process 8 on h", Bus: "kafka//c1", RenewedAt: time.UnixMilli(1_800_000_000_000)},
			}},
		},
		{
			name: "doctor fails", args: "doctor", env: []string{onKafka}, broker: fakeBroker{parts: all}, code: 1,
			ledger: fakeLedger{
				bus: "kafka//c1", buses: []store.Bus{formerBus("kafka//c1", "", "sauce", "meat")},
				differences: slices.Repeat([]string{"order 06h: completed is 1, its rows say 2"}, 12),
			},
		},
		{name: "doctor unreachable broker", args: "doctor", env: []string{onKafka}, broker: fakeBroker{err: errGone}, ledger: healthy, code: 4},
		{name: "doctor unreachable store", args: "doctor", env: pg, broker: fakeBroker{parts: all}, ledger: fakeLedger{err: fmt.Errorf("%w: connection refused", store.ErrUnavailable)}, databaseErr: context.DeadlineExceeded, code: 4},
		{name: "doctor bad store", args: "doctor", env: []string{onKafka}, broker: fakeBroker{parts: all}, ledger: fakeLedger{err: errors.New("it has schema 9 and this pizzamill knows only up to 2")}, code: 1},
		{
			name: "doctor of stages", args: "doctor", broker: fakeBroker{parts: all},
			env: []string{onKafka, "PIZZAMILL_STORE_DRIVER=postgres", "PIZZAMILL_APP_MODULES=meat", "PIZZAMILL_IDEMPOTENCY_DRIVER=memory"},
		},
		{
			name: "doctor conflict", args: "doctor", env: []string{onAMQP}, ledger: fakeLedger{err: fs.ErrNotExist}, code: 1,
			broker: fakeBroker{differs: fmt.Errorf("compare: %w", &bus.ConflictError{What: "exchange pizza", Have: "type direct", Want: "type fanout"})},
		},
		{
			name: "doctor pipeline", args: "doctor", env: []string{onAMQP}, ledger: fakeLedger{err: fs.ErrNotExist}, code: 1,
			broker: fakeBroker{differs: &bus.PipelineError{Bus: "amqp//rabbit@here//", Have: "sauce", Want: "sauce,cheese", Marker: "exchange pizzamill.pipeline-marker"}},
		},
		{name: "doctor may not declare", args: "doctor", env: []string{onAMQP}, broker: fakeBroker{differs: errors.New("declare queue pizza.sauce: Exception (403)")}, ledger: fakeLedger{err: fs.ErrNotExist}, code: 4},
		{name: "doctor management", args: "doctor", env: management, handler: ready, ledger: fakeLedger{err: fs.ErrNotExist}},
		{
			name: "doctor management refuses", args: "doctor", env: management, handler: ready, ledger: fakeLedger{err: fs.ErrNotExist}, code: 1,
			broker: fakeBroker{listErr: errors.New("the management API answers 401 Unauthorized")},
		},
		{
			name: "doctor management unreachable", args: "doctor", env: management, ledger: fakeLedger{err: fs.ErrNotExist}, code: 4,
			broker: fakeBroker{listErr: fmt.Errorf("ask the management API: %w", &url.Error{Op: "Get", URL: "http://h:15672/api/queues/%2F", Err: errors.New("connection refused")})},
		},
		{name: "doctor bad configuration", args: "doctor", env: []string{"PIZZAMILL_KAFKA_PARTITIONS=0"}, code: 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.database.now.IsZero() {
				c.database.now = time.Now()
			}
			c.run(t)
		})
	}
}

// A clock is as far off as it surely is, whatever the question took and
// however coarse the answer was.
func TestDoctorComparesClocks(t *testing.T) {
	for name, c := range map[string]struct {
		off, rounded time.Duration
		want         verdict
	}{
		"same":                      {0, 0, fine},
		"a second ahead":            {maxSkew, 0, fine},
		"more than a second ahead":  {maxSkew + 3*time.Second, 0, warn}, // less what the question took
		"more than a second behind": {-maxSkew - time.Millisecond, 0, warn},
		"whole seconds":             {-maxSkew, time.Second, fine},
		"whole seconds, behind":     {-2*maxSkew - time.Millisecond, time.Second, warn},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &doctor{}
				d.examineClock(t.Context(), "clock", "the other's", func(ctx context.Context) (time.Time, time.Duration, error) {
					asked := time.Now()
					return asked.Add(c.off), c.rounded, pause(ctx, 2*time.Second)
				})
				if got := d.findings[0].Verdict; got != c.want {
					t.Errorf("%s: %s, want %s", got, d.findings[0].Detail, c.want)
				}
			})
		})
	}
}

// What does not fit what is there is a bad configuration, and waiting for it
// would not help.
func TestConflictsAreBadConfiguration(t *testing.T) {
	for name, err := range map[string]error{
		"conflict": &bus.ConflictError{What: "queue pizza.sauce", Have: "x-queue-type classic", Want: "x-queue-type quorum"},
		"pipeline": &bus.PipelineError{Bus: "kafka//c1", Have: "sauce", Want: "sauce,meat"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			r := newRun(t, nil)
			r.serve = func(context.Context, app.Options) error { return fmt.Errorf("the broker: %w", err) }
			if code := r.run(t.Context(), nil); code != 3 {
				t.Errorf("exit code %d, want 3", code)
			}
			if diff := cmp.Diff("pizzamill: the broker: "+err.Error()+"\n", r.stderr.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
