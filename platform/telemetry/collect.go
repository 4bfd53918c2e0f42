package telemetry

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/store"
)

// scrapeTimeout bounds what one collector may take of a scrape; Prometheus
// itself gives up after 10 s by default.
const scrapeTimeout = 5 * time.Second

// Totaler is what the ledger's gauges are read from.
type Totaler interface {
	Totals(ctx context.Context) (store.Totals, error)
}

// Lagger is what the groups' lag is read from.
type Lagger interface {
	Lag(ctx context.Context) ([]bus.Lag, error)
}

// LedgerCollector returns the gauges that are read from the ledger at each
// scrape, all from one call of Totals, so that they agree with each other.
// While the store cannot be read they are absent.
func LedgerCollector(l Totaler, log *slog.Logger) prometheus.Collector {
	return &ledgerCollector{
		ledger: l, log: log,
		pizzas: prometheus.NewDesc("pizzamill_pizzas",
			"Pizzas by state; ordered is the sum of the other three.", []string{"state"}, nil),
		undispatched: prometheus.NewDesc("pizzamill_undispatched_pizzas",
			"Pizzas that were ordered and have not been put on the bus yet.", nil, nil),
		oldest: prometheus.NewDesc("pizzamill_oldest_in_flight_seconds",
			"Age of the oldest order with a pizza in flight, 0 if there is none.", nil, nil),
	}
}

type ledgerCollector struct {
	ledger                       Totaler
	log                          *slog.Logger
	pizzas, undispatched, oldest *prometheus.Desc
}

func (c *ledgerCollector) Describe(out chan<- *prometheus.Desc) {
	out <- c.pizzas
	out <- c.undispatched
	out <- c.oldest
}

func (c *ledgerCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	t, err := c.ledger.Totals(ctx)
	if err != nil {
		c.log.Warn("metrics of the ledger are left out", "error", err)
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(c.pizzas, float64(t.Ordered), "ordered")
	gauge(c.pizzas, float64(t.Completed), "completed")
	gauge(c.pizzas, float64(t.InFlight()), "in_flight")
	gauge(c.pizzas, float64(t.DeadLettered), "dead_lettered")
	gauge(c.undispatched, float64(t.Undispatched))
	age := 0.0
	if !t.OldestInFlight.IsZero() {
		age = max(0, time.Since(t.OldestInFlight).Seconds())
	}
	gauge(c.oldest, age)
}

// LagCollector returns the lag of each consumer group, asked of the bus at
// each scrape. While the bus cannot be asked it is absent.
func LagCollector(b Lagger, log *slog.Logger) prometheus.Collector {
	return &lagCollector{bus: b, log: log, lag: prometheus.NewDesc("pizzamill_group_lag",
		"Messages of a topic that a module has yet to acknowledge.", []string{"module", "topic"}, nil)}
}

type lagCollector struct {
	bus Lagger
	log *slog.Logger
	lag *prometheus.Desc
}

func (c *lagCollector) Describe(out chan<- *prometheus.Desc) { out <- c.lag }

func (c *lagCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	lags, err := c.bus.Lag(ctx)
	if err != nil {
		c.log.Warn("lag of the groups is left out of the metrics", "error", err)
		return
	}
	for _, l := range lags {
		out <- prometheus.MustNewConstMetric(c.lag, prometheus.GaugeValue, float64(l.Messages), l.Group, l.Topic)
	}
}
