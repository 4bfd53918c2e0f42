// Package config reads the configuration: flag, environment, file, default, in
// this order of precedence. Every key has one row in a table, from which the
// decoder, the environment variables, the flags and config.example.toml are made.
package config

import (
	"slices"
	"time"
)

// Config is the whole configuration, checked.
type Config struct {
	App struct {
		Modules         []string
		ShutdownTimeout time.Duration
	}
	Pipeline struct {
		Stages            []string
		External          []string // those of Stages that someone else runs
		MaxPizzasPerOrder int
	}
	Bus struct {
		Driver string // gochannel, kafka, amqp
		Prefix string
	}
	Kafka struct {
		Brokers           []string // host:port
		Partitions        int
		ReplicationFactor int
		TLS               bool
		CAFile            string
		SASLMechanism     string // "", PLAIN, SCRAM-SHA-256, SCRAM-SHA-512
		SASLUsername      string
		SASLPassword      string
	}
	AMQP struct {
		URL           string
		ManagementURL string
		QueueType     string // quorum, classic
		Concurrency   int    // messages of a queue that a process has in hand at most
	}
	Store struct {
		Driver string // sqlite, postgres
		Path   string // of sqlite
		DSN    string // of postgres
	}
	HTTP  struct{ Listen string }
	Admin struct {
		Listen string
		Token  string
	}
	Idempotency struct {
		Driver    string // memory, postgres; auto is resolved to one of them
		DSN       string // the store's, where nobody sets it
		Retention time.Duration
	}
	Retry struct {
		MaxAttempts     int
		InitialInterval time.Duration
		MaxInterval     time.Duration
		AttemptTimeout  time.Duration
	}
	Log struct {
		Level  string // debug, info, warn, error
		Format string // auto, text, json
	}
	Faults struct { // each: stage → value
		Fail, Panic, Flaky map[string]float64 // shares, 0 to 1
		Delay              map[string]time.Duration
	}
}

// Default returns the configuration that holds where nobody sets anything.
func Default() Config {
	l := &loader{loaded: Loaded{Config: defaults(), resolved: make(map[string]string)}}
	l.resolve()
	return l.loaded.Config
}

// defaults returns the default of every key, before anything is resolved.
func defaults() Config {
	var c Config
	for _, k := range keys {
		if flaws := k.set(&c, k.items(k.def), Names{}); len(flaws) > 0 {
			panic("config: default of " + k.String() + ": " + flaws[0].text)
		}
	}
	return c
}

// Selects reports whether app.modules has the module, by name or by "all". A
// stage that is not in the pipeline or that someone else runs is selected by
// "all" too; nothing starts it.
func (c Config) Selects(module string) bool {
	return slices.Contains(c.App.Modules, allModules) || slices.Contains(c.App.Modules, module)
}

// IsExternal reports whether someone else runs a stage.
func (c Config) IsExternal(stage string) bool { return slices.Contains(c.Pipeline.External, stage) }

// OnBroker reports whether messages leave the process.
func (c Config) OnBroker() bool { return c.Bus.Driver != gochannel }
