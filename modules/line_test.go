package modules_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"go.uber.org/goleak"

	"github.com/pizzamill/pizzamill/modules"
	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/bus/gochannel"
	"github.com/pizzamill/pizzamill/platform/config"
	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/idempotency"
	"github.com/pizzamill/pizzamill/platform/module"
	"github.com/pizzamill/pizzamill/platform/store"
	"github.com/pizzamill/pizzamill/platform/store/sqlite"
	"github.com/pizzamill/pizzamill/platform/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// line is all modules on a bus in memory and a ledger on disk, without listeners.
type line struct {
	*testing.T
	ledger *store.Ledger
	driver *flakyDriver
	bus    *gochannel.Bus
	tap    tapBus
	topics []string
}

// flakyDriver is a database that cannot be written to while down is set.
type flakyDriver struct {
	store.Driver
	down     atomic.Bool
	refusals chan struct{}
}

func (d *flakyDriver) Update(ctx context.Context, fn func(store.Tx) error) error {
	if d.down.Load() {
		select {
		case d.refusals <- struct{}{}:
		default:
		}
		return store.ErrUnavailable
	}
	return d.Driver.Update(ctx, fn)
}

// tapBus tells of what is published, before it is.
type tapBus struct {
	bus.Bus
	tap     atomic.Pointer[func(topic string)]
	away    atomic.Bool            // nothing can be published
	refused atomic.Pointer[string] // an order whose pizzas are not taken
}

func (b *tapBus) Publisher() message.Publisher { return tapPublisher{b.Bus.Publisher(), b} }

type tapPublisher struct {
	message.Publisher
	bus *tapBus
}

func (p tapPublisher) Publish(topic string, messages ...*message.Message) error {
	if tap := p.bus.tap.Load(); tap != nil {
		(*tap)(topic)
	}
	if p.bus.away.Load() {
		return errors.New("the broker is away")
	}
	if order := p.bus.refused.Load(); order != nil {
		for _, m := range messages {
			if strings.HasPrefix(m.UUID, *order+"-") {
				return errors.New("a partition has no leader")
			}
		}
	}
	return p.Publisher.Publish(topic, messages...)
}

// newLine starts everything but what without says.
func newLine(t *testing.T, change func(*config.Config), without ...string) *line {
	t.Helper()
	c := config.Default()
	c.Retry.InitialInterval = time.Millisecond
	if change != nil {
		change(&c)
	}
	pipeline, err := event.NewPipeline(c.Pipeline.Stages...)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "line.db"))
	if err != nil {
		t.Fatal(err)
	}
	l := &line{T: t, driver: &flakyDriver{Driver: db, refusals: make(chan struct{})}, topics: pipeline.Topics()}
	log := slog.New(slog.DiscardHandler)
	l.ledger = store.New(l.driver, store.Options{Pipeline: pipeline, Log: log})
	l.bus = gochannel.New("", watermill.NopLogger{})
	l.tap.Bus = l.bus
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: 20 * time.Second}, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	background, stop := context.WithCancel(context.Background())
	var sources, consumers []func(context.Context) error
	var begins []func() (func(context.Context) error, error)
	env := &module.Env{
		Config: c, Pipeline: pipeline, Log: log, Metrics: telemetry.NewMetrics(telemetry.NewRegistry()),
		Bus: &l.tap, Router: router, Ledger: l.ledger,
		Records:  func(string) idempotency.Records { return idempotency.NewMemory(idempotency.MemorySize) },
		Source:   func(_ string, fn func(context.Context) error) { sources = append(sources, fn) },
		Consumer: func(_ string, begin func() (func(context.Context) error, error)) { begins = append(begins, begin) },
	}
	var selected []module.Module
	var subs []bus.Subscription
	for _, m := range modules.All() {
		if m.Stage && pipeline.Index(m.Name) < 0 || slices.Contains(without, m.Name) {
			continue
		}
		selected = append(selected, m)
		if m.Consumes != nil {
			for _, topic := range m.Consumes(pipeline) {
				subs = append(subs, bus.Subscription{Topic: topic, Group: m.Name})
			}
		}
	}
	l.bus.Declare(subs)
	for _, m := range selected {
		l.must(m.Start(env))
	}
	for _, begin := range begins {
		run, err := begin()
		l.must(err)
		consumers = append(consumers, run)
	}
	l.must(l.ledger.Start(t.Context(), store.Process{ID: "p", Bus: t.Name(), Alone: true}))
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		if err := router.Run(context.Background()); err != nil {
			t.Errorf("router: %v", err)
		}
	}()
	<-router.Running()
	ended := make(chan error)
	for _, fn := range append(sources, consumers...) {
		go func() { ended <- fn(background) }()
	}
	t.Cleanup(func() {
		if err := router.Close(); err != nil {
			t.Errorf("close router: %v", err)
		}
		stop()
		for range len(sources) + len(consumers) {
			if err := <-ended; err != nil {
				t.Errorf("background: %v", err)
			}
		}
		<-ran
		l.must(l.bus.Close())
		l.must(l.ledger.Close())
		l.must(l.driver.Close())
	})
	return l
}

func (l *line) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func (l *line) order(n int) store.Order {
	l.Helper()
	o, _, err := l.ledger.PlaceOrder(l.Context(), n, "")
	l.must(err)
	return o
}

// until waits until an order is as it should be.
func (l *line) until(id string, ok func(store.Order) bool) store.Order {
	l.Helper()
	changed, stop := l.ledger.Watch(id)
	defer stop()
	ctx, cancel := context.WithTimeout(l.Context(), 60*time.Second)
	defer cancel()
	for {
		o, err := l.ledger.Order(ctx, id)
		l.must(err)
		if ok(o) {
			return o
		}
		select {
		case <-changed:
		case <-ctx.Done():
			l.Fatalf("order never got there: %+v", o)
		}
	}
}

func ended(o store.Order) bool { return o.Status() != store.Cooking }

func (l *line) publish(topic, body string) {
	l.Helper()
	l.must(l.bus.Publisher().Publish(topic, message.NewMessage(watermill.NewUUID(), []byte(body))))
}

func (l *line) drain() {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), 60*time.Second)
	defer cancel()
	l.must(l.bus.Drain(ctx))
}

func TestOrderBecomesItsPizzasEachWithEveryStageOnce(t *testing.T) {
	l := newLine(t, nil)
	const n = 500
	o := l.until(l.order(n).ID, ended)
	if o.Status() != store.Complete || o.LastEvent != 6*n {
		t.Fatalf("got %+v", o)
	}
	l.drain()
	pizzas, err := l.ledger.Pizzas(t.Context(), o.ID, 0, n+1, store.AnyPizza)
	l.must(err)
	if len(pizzas) != n {
		t.Fatalf("got %d pizzas", len(pizzas))
	}
	for i, p := range pizzas {
		if p.ID.Number != i+1 || p.Status != store.Complete {
			t.Fatalf("pizza %d is %+v", i+1, p)
		}
		entries, err := l.ledger.Journal(t.Context(), p.ID)
		l.must(err)
		if len(entries) != len(l.topics) {
			t.Fatalf("journal of %s has %d events", p.ID, len(entries))
		}
		for k, e := range entries {
			if e.Topic != l.topics[k] || e.Source == "" {
				t.Errorf("event %d of %s: topic %s, source %q", k, p.ID, e.Topic, e.Source)
			}
			if k > 0 && e.At.Before(entries[k-1].At) {
				t.Errorf("journal of %s goes back at %s", p.ID, e.Topic)
			}
		}
	}
}

func TestCrustAnywhereInThePipelineChangesNoCode(t *testing.T) {
	l := newLine(t, func(c *config.Config) { c.Pipeline.Stages = []string{"sauce", "crust", "veggies"} })
	o := l.until(l.order(3).ID, ended)
	p, err := l.ledger.Pizza(t.Context(), event.PizzaID{Order: o.ID, Number: 2})
	l.must(err)
	parsed, err := event.Parse(p.Body, []string{"sauce", "crust", "veggies"})
	l.must(err)
	if _, ok := parsed.Field("cheese"); ok {
		t.Errorf("got %s", p.Body)
	}
}

func TestBacklogIsBoundedAndSmallOrdersOvertake(t *testing.T) {
	l := newLine(t, nil)
	big := l.order(100_000)
	l.until(big.ID, func(o store.Order) bool { return o.Completed > 1000 })
	small := l.until(l.order(3).ID, func(o store.Order) bool {
		lags, err := l.bus.Lag(t.Context())
		l.must(err)
		var sum int64
		for _, lag := range lags {
			sum += lag.Messages
		}
		if sum > gochannel.MaxBacklog {
			t.Errorf("backlog is %d", sum)
		}
		return ended(o)
	})
	now, err := l.ledger.Order(t.Context(), big.ID)
	l.must(err)
	if ended(now) || small.Status() != store.Complete {
		t.Errorf("the order of 3 waited for the order of 100,000: %+v, %+v", small, now)
	}
}

func TestBadPizzasEndAsDeadLettersAndTheRestFlows(t *testing.T) {
	l := newLine(t, func(c *config.Config) {
		c.Faults.Fail = map[string]float64{"cheese": 0.2}
		c.Faults.Panic = map[string]float64{"meat": 0.2}
		c.Faults.Flaky = map[string]float64{"sauce": 0.1}
		c.Retry.MaxAttempts = 8
		c.Retry.MaxInterval = time.Millisecond
	})
	const n = 300
	o := l.until(l.order(n).ID, ended)
	l.drain()
	letters, err := l.ledger.DeadLetters(t.Context(), store.LetterFilter{Order: o.ID}, n, "")
	l.must(err)
	kinds := map[string]int{}
	for _, d := range letters {
		kinds[d.Module+" "+d.Kind]++
	}
	if o.Status() != store.Partial || o.Completed+o.DeadLettered != n || o.DeadLettered != len(letters) {
		t.Errorf("order is %+v with %d letters", o, len(letters))
	}
	if len(kinds) != 2 || kinds["cheese exhausted"] == 0 || kinds["meat panic"] == 0 {
		t.Errorf("got %v", kinds)
	}
}

func TestForeignRecordsAreDeadLetteredOnceAndBlockNothing(t *testing.T) {
	l := newLine(t, nil)
	good := l.order(50)
	l.publish("pizza", `no JSON`)
	l.publish("pizza-with-sauce", `{"id":"`+good.ID+`-51","sauce":7}`)
	l.publish("pizza-with-veggies", `{"id":"nobody-1","sauce":"a","cheese":"b","meat":"c","veggies":"d"}`)
	l.publish(event.TopicDeadLetters, `who knows`)
	l.until(good.ID, ended)
	l.drain()
	letters, err := l.ledger.DeadLetters(t.Context(), store.LetterFilter{}, 10, "")
	l.must(err)
	got := map[string]string{}
	for _, d := range letters {
		got[d.Module] = d.Kind + " " + d.Topic
	}
	want := map[string]string{
		"sauce":  "poison pizza",
		"cheese": "poison pizza-with-sauce",
		"pizza":  "poison pizza-with-veggies",
		"":       "poison ",
	}
	if len(letters) != len(want) {
		t.Errorf("got %d letters", len(letters))
	}
	for m, w := range want {
		if got[m] != w {
			t.Errorf("letter of %q: got %q, want %q", m, got[m], w)
		}
	}
}

// The journal, pizza and deadletter wait while the store is away. Nothing is
// dead-lettered and nothing is lost.
func TestOutageOfTheStoreLosesAndDeadLettersNothing(t *testing.T) {
	l := newLine(t, func(c *config.Config) { c.Retry.MaxAttempts = 1 })
	o := l.order(2000)
	l.until(o.ID, func(o store.Order) bool { return o.Completed > 100 })
	l.driver.down.Store(true)
	for range 5 {
		<-l.driver.refusals
	}
	if _, _, err := l.ledger.PlaceOrder(t.Context(), 1, ""); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("order during the outage: %v", err)
	}
	l.driver.down.Store(false)
	o = l.until(o.ID, ended)
	l.drain()
	letters, err := l.ledger.DeadLetters(t.Context(), store.LetterFilter{}, 10, "")
	l.must(err)
	if o.Status() != store.Complete || len(letters) != 0 || o.LastEvent != 6*2000 {
		t.Errorf("order is %+v, %d letters", o, len(letters))
	}
}

// A crash between the relay's publish and its cursor repeats what was
// published, under the same IDs; nothing is made twice.
func TestRepeatedDispatchChangesNothing(t *testing.T) {
	l := newLine(t, nil)
	o := l.order(200)
	for n := range o.Count {
		p := event.New(event.PizzaID{Order: o.ID, Number: n + 1}, 0)
		l.must(l.bus.Publisher().Publish("pizza", event.NewMessage(p, event.StepPizza, "pizza", time.Now(), "")))
	}
	o = l.until(o.ID, ended)
	l.drain()
	o, err := l.ledger.Order(t.Context(), o.ID)
	l.must(err)
	if o.Status() != store.Complete || o.Completed != 200 || o.LastEvent != 6*200 {
		t.Errorf("got %+v", o)
	}
	for _, s := range o.Progress {
		if s.Count != 200 {
			t.Errorf("%d pizzas past %s", s.Count, s.Step)
		}
	}
}

// A relay that gave up on moving its cursors would leave the orders leased for
// half a minute and publish everything again.
func TestRelayMovesItsCursorsOnceTheStoreIsBack(t *testing.T) {
	l := newLine(t, nil)
	var once sync.Once
	away := make(chan struct{})
	tap := func(topic string) {
		if topic == "pizza" {
			once.Do(func() { l.driver.down.Store(true); close(away) })
		}
	}
	l.tap.tap.Store(&tap)
	begin := time.Now()
	o := l.order(10)
	<-away
	for range 3 {
		<-l.driver.refusals
	}
	l.driver.down.Store(false)
	l.until(o.ID, ended)
	// A cursor is nothing that readers are told of, so that there is no signal.
	for o.Dispatched < 10 && time.Since(begin) < store.DefaultLease/2 {
		var err error
		o, err = l.ledger.Order(t.Context(), o.ID)
		l.must(err)
	}
	if o.Dispatched != 10 {
		t.Errorf("%d dispatched after %v", o.Dispatched, time.Since(begin))
	}
}

// With the broker away orders are taken, and go on as soon as it is back: the
// relay does not sit on leases that nobody else may have meanwhile.
func TestOrdersGoOnOnceTheBusIsBack(t *testing.T) {
	l := newLine(t, nil)
	refused := make(chan struct{})
	tap := func(string) {
		if l.tap.away.Load() {
			select {
			case refused <- struct{}{}:
			default:
			}
		}
	}
	l.tap.tap.Store(&tap)
	l.tap.away.Store(true)
	o := l.order(30)
	begin := time.Now()
	for range 3 { // each with a lease of its own, or there would be one in 30 seconds
		<-refused
	}
	l.tap.away.Store(false)
	l.until(o.ID, ended)
	if took := time.Since(begin); took > store.DefaultLease/2 {
		t.Errorf("it took %v: a lease had to run out", took)
	}
}

// Every call of a broker takes a round trip. Orders that waited together once went
// one after the other, two a second over a slow network.
func TestWaitingOrdersAreDispatchedTogether(t *testing.T) {
	l := newLine(t, nil)
	var calls atomic.Int64
	refused := make(chan struct{})
	tap := func(topic string) {
		if topic != "pizza" {
			return
		}
		if l.tap.away.Load() {
			select {
			case refused <- struct{}{}:
			default:
			}
			return
		}
		calls.Add(1)
	}
	l.tap.tap.Store(&tap)
	l.tap.away.Store(true)
	var orders []store.Order
	for range 40 {
		orders = append(orders, l.order(1))
	}
	<-refused
	l.tap.away.Store(false)
	for _, o := range orders {
		l.until(o.ID, ended)
	}
	if n := calls.Load(); n > 8 { // 1, 2, 4, 8, 16 and the rest, after a failure
		t.Errorf("%d orders took %d calls", len(orders), n)
	}
}

// A bus may take some pizzas and not others, as Kafka does while one partition has
// no leader: an order that it does not take holds up nobody else.
func TestAnOrderThatTheBusDoesNotTakeHoldsUpNobody(t *testing.T) {
	l := newLine(t, nil)
	var orders []store.Order
	l.tap.away.Store(true)
	for range 6 {
		orders = append(orders, l.order(2))
	}
	l.tap.refused.Store(&orders[0].ID)
	l.tap.away.Store(false)
	for _, o := range orders[1:] {
		l.until(o.ID, ended)
	}
	if o, err := l.ledger.Order(t.Context(), orders[0].ID); err != nil || o.Dispatched != 0 {
		t.Errorf("%d pizzas of the order that is not taken are dispatched, %v", o.Dispatched, err)
	}
	l.tap.refused.Store(nil)
	l.until(orders[0].ID, ended)
}
