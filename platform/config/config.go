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
		MaxPizzasPerOrder int
	}
	Bus struct {
		Driver string // gochannel
		Prefix string
	}
	Store struct {
		Driver string // sqlite
		Path   string
	}
	HTTP  struct{ Listen string }
	Admin struct {
		Listen string
		Token  string
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
	var c Config
	for _, k := range keys {
		if flaws := k.set(&c, k.items(k.def), Names{}); len(flaws) > 0 {
			panic("config: default of " + k.String() + ": " + flaws[0].text)
		}
	}
	return c
}

// Selects reports whether app.modules has the module, by name or by "all". A
// stage that is not in the pipeline is selected by "all" too; nothing starts it.
func (c Config) Selects(module string) bool {
	return slices.Contains(c.App.Modules, allModules) || slices.Contains(c.App.Modules, module)
}
