package telemetry

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/version"
)

// NewRegistry returns a registry that knows the Go runtime, the process and
// which pizzamill this is.
func NewRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "pizzamill_build_info",
		Help:        "Which pizzamill this is; always 1.",
		ConstLabels: prometheus.Labels{"version": version.String(), "goversion": runtime.Version()},
	})
	info.Set(1)
	reg.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		info,
	)
	return reg
}

// Handler serves what a registry gathers. What one collector cannot tell is
// left out and logged; all else is served.
func Handler(reg prometheus.Gatherer, log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ErrorHandling: promhttp.ContinueOnError,
	})
}

// Metrics are what the modules of a process count.
type Metrics struct {
	// StoreCommit observes the seconds that each commit of the ledger took.
	StoreCommit prometheus.Histogram
	// Pizza observes the seconds from order to completion of each pizza.
	Pizza prometheus.Histogram

	handled *prometheus.CounterVec
	retries *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

// PipelineInfo tells which pipeline a process runs: processes with the same
// hash have the same stages in the same order.
func PipelineInfo(p event.Pipeline) prometheus.Collector {
	hash := sha256.Sum256([]byte(strings.Join(p.Stages(), ",")))
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "pizzamill_pipeline_info",
		Help:        "Which pipeline this process runs; always 1.",
		ConstLabels: prometheus.Labels{"hash": hex.EncodeToString(hash[:6])},
	})
	g.Set(1)
	return g
}

// NewMetrics registers the metrics of a process, once, and returns them. It
// panics if another metric has one of the names.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		StoreCommit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "pizzamill_store_commit_seconds",
			Help:    "How long a commit of the ledger took.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16), // 100 µs to 3.3 s
		}),
		Pizza: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "pizzamill_pizza_seconds",
			Help:    "How long it took from the order to the completed pizza.",
			Buckets: prometheus.ExponentialBuckets(0.002, 2.5, 14), // 2 ms to 5 min
		}),
		handled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pizzamill_handled_total",
			Help: "Messages that a module is done with, by how it ended.",
		}, []string{"module", "topic", "outcome"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pizzamill_retries_total",
			Help: "Attempts of a module beyond the first.",
		}, []string{"module"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "pizzamill_handle_seconds",
			Help:    "How long a module had a message in hand, retries included.",
			Buckets: prometheus.ExponentialBuckets(0.00005, 2.5, 14), // 50 µs to 7.5 s
		}, []string{"module"}),
	}
	reg.MustRegister(m.StoreCommit, m.Pizza, m.handled, m.retries, m.seconds)
	return m
}

// ModuleMetrics are the metrics of one module on one topic, with the labels
// looked up already: there is nothing to look up for each message.
type ModuleMetrics struct {
	// How a message ended. Every message counts once in one of them; one that
	// was nacked comes again and counts again.
	OK, Duplicate, DeadLettered, Nacked prometheus.Counter
	// Retries counts the attempts beyond the first.
	Retries prometheus.Counter
	// Seconds observes how long a message was in hand, retries included.
	Seconds prometheus.Observer
}

// Module returns the metrics of a module on a topic.
func (m *Metrics) Module(module, topic string) ModuleMetrics {
	outcome := func(name string) prometheus.Counter { return m.handled.WithLabelValues(module, topic, name) }
	return ModuleMetrics{
		OK:           outcome("ok"),
		Duplicate:    outcome("duplicate"),
		DeadLettered: outcome("dead_lettered"),
		Nacked:       outcome("nacked"),
		Retries:      m.retries.WithLabelValues(module),
		Seconds:      m.seconds.WithLabelValues(module),
	}
}
