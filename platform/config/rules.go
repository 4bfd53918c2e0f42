package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/pg"
)

// checkRules checks what follows from several keys together. A key that has a
// flaw already is left alone, so that one slip is one problem.
func (l *loader) checkRules() {
	l.checkPipeline()
	l.checkModuleNames()
	l.checkListeners()
	l.checkKafka()
	l.checkStore()
	l.checkRetry()
	if c := &l.loaded.Bus; l.sound("bus.driver", "bus.prefix") && c.Driver == amqp && strings.HasPrefix(c.Prefix, "amq.") {
		l.report(l.placeOf("bus.prefix"), "bus.prefix = %q: RabbitMQ keeps names that begin with amq. for itself", c.Prefix)
	}
	c := &l.loaded.Config
	l.checkFaults("faults.fail", slices.Sorted(maps.Keys(c.Faults.Fail)))
	l.checkFaults("faults.panic", slices.Sorted(maps.Keys(c.Faults.Panic)))
	l.checkFaults("faults.flaky", slices.Sorted(maps.Keys(c.Faults.Flaky)))
	l.checkFaults("faults.delay", slices.Sorted(maps.Keys(c.Faults.Delay)))
	l.checkSelection()
}

// checkPipeline wants every stage to be built in or external, and every
// external one to be a stage on a broker.
func (l *loader) checkPipeline() {
	built := l.source.Known.Stages
	l.eachItem("pipeline.stages", func(s string) string {
		if built == nil || slices.Contains(built, s) || l.isGiven("pipeline.external", s) || event.CheckStageName(s) != nil {
			return ""
		}
		return fmt.Sprintf("unknown stage %q%s this build has: %s; one that someone else runs stands in [pipeline] external too",
			s, nearMiss(s, built), strings.Join(built, ", "))
	})
	stages := l.loaded.Pipeline.Stages
	l.eachItem("pipeline.external", func(s string) string {
		if slices.Contains(stages, s) || !l.sound("pipeline.stages") || event.CheckStageName(s) != nil {
			return ""
		}
		return fmt.Sprintf("stage %q is not in the pipeline%s its stages are: %s; [pipeline] stages says where in the line it stands",
			s, nearMiss(s, stages), strings.Join(stages, ", "))
	})
	if external := l.loaded.Pipeline.External; len(external) > 0 && l.sound("bus.driver", "pipeline.external") && !l.loaded.OnBroker() {
		l.bad["pipeline.external"] = true
		l.report(l.placeOf("pipeline.external"), "pipeline.external: %s cannot be run by someone else on gochannel, whose messages do not leave the process: set [bus] driver to kafka or amqp, or empty the list",
			strings.Join(external, ", "))
	}
}

func (l *loader) checkListeners() {
	c := &l.loaded.Config
	if l.sound("admin.listen", "admin.token") && c.Admin.Token == "" && !isLoopback(c.Admin.Listen) {
		l.report(l.placeOf("admin.listen"),
			"admin.listen = %q is no loopback address and there is no admin.token: set PIZZAMILL_ADMIN_TOKEN (or PIZZAMILL_ADMIN_TOKEN_FILE), or listen on 127.0.0.1",
			c.Admin.Listen)
	}
	if l.sound("http.listen", "admin.listen") && c.HTTP.Listen == c.Admin.Listen && !strings.HasSuffix(c.HTTP.Listen, ":0") {
		l.report(l.placeOf("admin.listen", "http.listen"), "http.listen and admin.listen are both %q: want two addresses", c.HTTP.Listen)
	}
}

// checkKafka checks what only together makes sense. The file of certificates
// is read where Kafka is the bus: others share the configuration without it.
func (l *loader) checkKafka() {
	k := &l.loaded.Kafka
	switch {
	case !l.sound("kafka.sasl_mechanism", "kafka.sasl_username", "kafka.sasl_password"):
	case k.SASLMechanism != "" && (k.SASLUsername == "" || k.SASLPassword == ""):
		l.report(l.placeOf("kafka.sasl_mechanism"), "kafka.sasl_mechanism = %q wants kafka.sasl_username and kafka.sasl_password (PIZZAMILL_KAFKA_SASL_PASSWORD or …_FILE): %s is empty",
			k.SASLMechanism, firstEmpty("sasl_username", k.SASLUsername, "sasl_password", k.SASLPassword))
	case k.SASLMechanism == "" && (k.SASLUsername != "" || k.SASLPassword != ""):
		l.report(l.placeOf("kafka.sasl_username", "kafka.sasl_password"), "kafka.sasl_username and kafka.sasl_password want kafka.sasl_mechanism: one of %s",
			strings.Join(saslMechanisms, ", "))
	}
	if !l.sound("kafka.tls", "kafka.ca_file", "bus.driver") || k.CAFile == "" {
		return
	}
	if !k.TLS {
		l.report(l.placeOf("kafka.ca_file"), "kafka.ca_file is set and kafka.tls is false: nothing would be encrypted")
	} else if l.loaded.Bus.Driver == kafka {
		if err := checkCertificates(k.CAFile); err != nil {
			l.report(l.placeOf("kafka.ca_file"), "kafka.ca_file = %q: %v", k.CAFile, err)
		}
	}
}

// firstEmpty returns the first name whose value is empty, of names and values in turn.
func firstEmpty(pairs ...string) string {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			return pairs[i]
		}
	}
	return ""
}

// checkStore wants a connection string wherever this process opens PostgreSQL.
// A process of stages may do without.
func (l *loader) checkStore() {
	if !l.sound("bus.driver", "store.driver", "store.dsn", "idempotency.driver", "idempotency.dsn", "app.modules") {
		return
	}
	c := &l.loaded.Config
	ledger := l.usesLedger() || l.source.Known.Ledger == nil
	if c.Store.Driver == postgres && c.Store.DSN == "" && ledger {
		l.report(l.placeOf("store.driver"), `store.driver = "postgres" wants store.dsn: set PIZZAMILL_STORE_DSN (or PIZZAMILL_STORE_DSN_FILE)`)
		return
	}
	if c.Store.Driver == postgres && ledger && !l.canOpen("store.dsn", c.Store.DSN) {
		return
	}
	if c.Idempotency.Driver != postgres {
		return
	}
	switch {
	case !c.OnBroker():
		l.report(l.placeOf("idempotency.driver"), `idempotency.driver = "postgres" on gochannel would lose pizzas: after a crash the records say that an event was processed whose output died with the process; set it to auto or memory`)
	case c.Idempotency.DSN == "" && l.resolvedBy("idempotency.driver"):
		l.report(l.placeOf("store.driver"), `store.driver = "postgres" makes idempotency.driver "postgres", which wants store.dsn or idempotency.dsn; a process of stages without access to PostgreSQL sets idempotency.driver to memory`)
	case c.Idempotency.DSN == "":
		l.report(l.placeOf("idempotency.driver"), `idempotency.driver = "postgres" wants idempotency.dsn or store.dsn: set PIZZAMILL_IDEMPOTENCY_DSN (or PIZZAMILL_IDEMPOTENCY_DSN_FILE)`)
	case l.resolvedBy("idempotency.dsn"):
		l.canOpen("store.dsn", c.Idempotency.DSN)
	default:
		l.canOpen("idempotency.dsn", c.Idempotency.DSN)
	}
}

// canOpen reads a connection string with the files that it names, and reports
// what cannot be read.
func (l *loader) canOpen(key, dsn string) bool {
	_, err := pg.Parse(key, dsn)
	if err != nil {
		l.report(l.placeOf(key), "%s: the connection string is malformed, or a file that it names cannot be read: sslrootcert, sslcert, sslkey or servicefile (its value is not shown)", key)
	}
	return err == nil
}

// maxRetryOnKafka is how long all attempts at one event may take together. The
// member of a group that holds a message beyond the rebalance timeout (60 s)
// loses its partition, and two members process the message at once.
const maxRetryOnKafka = 45 * time.Second

func (l *loader) checkRetry() {
	if !l.sound("retry.initial_interval", "retry.max_interval") {
		return
	}
	r := &l.loaded.Retry
	if r.InitialInterval > r.MaxInterval {
		l.report(l.placeOf("retry.initial_interval", "retry.max_interval"),
			"retry.initial_interval (%s) is above retry.max_interval (%s)",
			formatDuration(r.InitialInterval), formatDuration(r.MaxInterval))
		return
	}
	if !l.sound("retry.max_attempts", "retry.attempt_timeout", "bus.driver") || l.loaded.Bus.Driver != kafka {
		return
	}
	var pauses time.Duration
	wait := r.InitialInterval
	for range r.MaxAttempts - 1 {
		pauses += wait
		wait = min(2*wait, r.MaxInterval)
	}
	attempts := time.Duration(r.MaxAttempts) * r.AttemptTimeout
	if attempts+pauses > maxRetryOnKafka {
		l.report(l.placeOf("retry.max_attempts", "retry.attempt_timeout", "retry.max_interval", "retry.initial_interval", "bus.driver"),
			"on Kafka all attempts at an event may take %s together, and these take up to %s: %d attempts of %s and pauses of %s between them; lower retry.max_attempts, retry.attempt_timeout or retry.max_interval",
			formatDuration(maxRetryOnKafka), formatDuration(attempts+pauses), r.MaxAttempts, formatDuration(r.AttemptTimeout), formatDuration(pauses))
	}
}

// sound reports whether the keys have values worth looking at.
func (l *loader) sound(keys ...string) bool {
	return !slices.ContainsFunc(keys, func(k string) bool { return l.bad[k] })
}

// placeOf returns the place of the first of the keys that somebody set.
func (l *loader) placeOf(keys ...string) string {
	for _, k := range keys {
		if p := l.loaded.place(k); p != "" {
			return p
		}
	}
	return strings.Join(keys, ", ")
}

// resolvedBy reports whether the value of a key follows from other keys.
func (l *loader) resolvedBy(key string) bool { return l.loaded.resolved[key] != "" }

// eachItem calls check with every item of every list that was given for a key,
// and reports what it says is wrong.
func (l *loader) eachItem(key string, check func(item string) string) {
	for _, given := range l.lists[key] {
		for i, item := range given.items {
			text := check(item)
			if text == "" {
				continue
			}
			l.bad[key] = true
			if place, ok := given.places[i]; ok {
				l.report(place, "%s: %s", key, text)
				continue
			}
			l.problems = append(l.problems, Problem{Place: given.place, Text: text, Usage: isFlag(given.place)})
		}
	}
}

// isGiven reports whether an item is in a list that was given for a key.
func (l *loader) isGiven(key, item string) bool {
	return slices.ContainsFunc(l.lists[key], func(g givenList) bool { return slices.Contains(g.items, item) })
}

func (l *loader) checkFaults(key string, stages []string) {
	if !l.sound(key, "pipeline.stages") {
		return
	}
	for _, s := range stages {
		switch {
		case !slices.Contains(l.loaded.Pipeline.Stages, s):
			l.report(l.placeOf(key), "%s: stage %q is not in the pipeline%s its stages are: %s",
				key, s, nearMiss(s, l.loaded.Pipeline.Stages), strings.Join(l.loaded.Pipeline.Stages, ", "))
		case l.sound("pipeline.external") && l.loaded.IsExternal(s):
			l.report(l.placeOf(key), "%s: stage %q is external: whoever runs it makes its faults", key, s)
		}
	}
}
