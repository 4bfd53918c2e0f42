package config

import "slices"

// freePort is where the admin listener of a process goes that nobody need find.
const freePort = "127.0.0.1:0"

// resolve sets what follows from other keys where nobody set it.
func (l *loader) resolve() {
	c := &l.loaded.Config
	if c.Idempotency.Driver == auto {
		// Records live as long as the transport: those of an in-memory bus end
		// with the process.
		if c.Store.Driver == postgres && c.OnBroker() {
			l.settle("idempotency.driver", "postgres, as the store is and a broker carries messages")
			c.Idempotency.Driver = postgres
		} else {
			l.settle("idempotency.driver", "memory, without PostgreSQL and a broker")
			c.Idempotency.Driver = memory
		}
	}
	if c.Idempotency.DSN == "" && c.Store.DSN != "" {
		l.settle("idempotency.dsn", "that of store.dsn")
		c.Idempotency.DSN = c.Store.DSN
	}
	// Several processes on one machine work with the defaults, and the port
	// that people know is that of the process with the kitchen.
	if l.loaded.place("admin.listen") == "" && len(l.source.Known.Ledger) > 0 && !l.usesLedger() {
		l.settle("admin.listen", "a free port, since no module of this process uses the ledger")
		c.Admin.Listen = freePort
	}
}

func (l *loader) settle(key, from string) { l.loaded.resolved[key] = from }

// usesLedger reports whether a module of this process does.
func (l *loader) usesLedger() bool {
	return slices.ContainsFunc(l.source.Known.Ledger, l.loaded.Selects)
}
