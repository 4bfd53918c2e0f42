package config

import (
	"strings"
	"time"
)

// What this build can be configured to.
var (
	busDrivers         = []string{gochannel, kafka, amqp}
	storeDrivers       = []string{sqlite, postgres}
	idempotencyDrivers = []string{auto, memory, postgres}
	saslMechanisms     = []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}
)

// defaultAMQP is where RabbitMQ is after it was installed, with the user that it
// lets in from the same machine only.
const defaultAMQP = "amqp://guest:guest@127.0.0.1:5672/" //nolint:gosec // a default that everybody knows

// Words that are values.
const (
	allModules = "all"
	auto       = "auto"
	gochannel  = "gochannel"
	kafka      = "kafka"
	amqp       = "amqp"
	sqlite     = "sqlite"
	postgres   = "postgres"
	memory     = "memory"
)

// key is one row of the table: everything there is to know about a key.
type key struct {
	section, name string
	flag          string // flag of serve, without dashes; "" if there is none
	def           string // default, as an environment variable would have it
	why           string // one line
	secret        bool
	value
}

// String returns "section.name".
func (k key) String() string { return k.section + "." + k.name }

// env returns the environment variable of the key.
func (k key) env() string {
	return envPrefix + strings.ToUpper(k.section+"_"+k.name)
}

// keys is the table, in the order of config.example.toml.
var keys = []key{
	{
		section: "app", name: "modules", flag: "modules", def: allModules,
		why:   `Which modules this process runs: "all", or names where a broker carries messages between processes.`,
		value: list(func(c *Config) *[]string { return &c.App.Modules }, checkModules),
	},
	{
		section: "app", name: "shutdown_timeout", def: "30s",
		why:   "How long a stopping process may take to finish what it has in hand.",
		value: duration(func(c *Config) *time.Duration { return &c.App.ShutdownTimeout }),
	},
	{
		section: "pipeline", name: "stages", def: "sauce,cheese,meat,veggies",
		why:   "The stages in order, each a topic; adding one to the line is one word here.",
		value: list(func(c *Config) *[]string { return &c.Pipeline.Stages }, checkStages),
	},
	{
		section: "pipeline", name: "external", def: "",
		why:   "Those of the stages that someone else runs, in any language, on a broker; they need not be built in.",
		value: list(func(c *Config) *[]string { return &c.Pipeline.External }, checkExternal),
	},
	{
		section: "pipeline", name: "max_pizzas_per_order", def: "100000",
		why:   "The largest count an order may ask for, so that one request cannot fill the disk.",
		value: integer(func(c *Config) *int { return &c.Pipeline.MaxPizzasPerOrder }, 10_000_000),
	},
	{
		section: "bus", name: "driver", flag: "bus", def: gochannel,
		why:   "What carries messages: gochannel (in the memory of one process), kafka or amqp (RabbitMQ).",
		value: choice(func(c *Config) *string { return &c.Bus.Driver }, "bus driver", busDrivers),
	},
	{
		section: "bus", name: "prefix", def: "",
		why:   "Stands before every topic, group, exchange and queue, so that several pipelines can share a broker.",
		value: text(func(c *Config) *string { return &c.Bus.Prefix }, checkPrefix),
	},
	{
		section: "kafka", name: "brokers", def: "127.0.0.1:9092",
		why:   "Some brokers of the cluster, each host:port; they name the others.",
		value: list(func(c *Config) *[]string { return &c.Kafka.Brokers }, checkBrokers),
	},
	{
		section: "kafka", name: "partitions", def: "8",
		why:   "Partitions of topics that are made; each goes to one process of a module, one that exists keeps its number.",
		value: integer(func(c *Config) *int { return &c.Kafka.Partitions }, 10_000),
	},
	{
		section: "kafka", name: "replication_factor", def: "1",
		why:   "Copies of topics that are made; 3 survives the loss of a broker and needs three.",
		value: integer(func(c *Config) *int { return &c.Kafka.ReplicationFactor }, 100),
	},
	{
		section: "kafka", name: "tls", def: "false",
		why:   "Whether to speak TLS with the brokers.",
		value: boolean(func(c *Config) *bool { return &c.Kafka.TLS }),
	},
	{
		section: "kafka", name: "ca_file", def: "",
		why:   "The certificates (PEM) that the brokers' ones must descend from; empty takes the system's.",
		value: text(func(c *Config) *string { return &c.Kafka.CAFile }, anyText),
	},
	{
		section: "kafka", name: "sasl_mechanism", def: "",
		why:   "How to log in: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; empty does not.",
		value: choice(func(c *Config) *string { return &c.Kafka.SASLMechanism }, "SASL mechanism", saslMechanisms, ""),
	},
	{
		section: "kafka", name: "sasl_username", def: "",
		why:   "Who logs in.",
		value: text(func(c *Config) *string { return &c.Kafka.SASLUsername }, anyText),
	},
	{
		section: "kafka", name: "sasl_password", def: "", secret: true,
		why:   "The password of sasl_username.",
		value: text(func(c *Config) *string { return &c.Kafka.SASLPassword }, checkPassword),
	},
	{
		section: "amqp", name: "url", def: defaultAMQP, secret: true,
		why:   "RabbitMQ, as amqp(s)://USER:PASSWORD@HOST:PORT/VHOST.",
		value: text(func(c *Config) *string { return &c.AMQP.URL }, checkAMQP),
	},
	{
		section: "amqp", name: "management_url", def: "", secret: true,
		why:   "Its management API, http(s)://user:password@host:15672: with it lag counts messages in hand too and left-over queues are found.",
		value: text(func(c *Config) *string { return &c.AMQP.ManagementURL }, checkManagement),
	},
	{
		section: "amqp", name: "queue_type", def: "quorum",
		why:   "Type of queues that are made: quorum (replicated) or classic (faster, on one node).",
		value: choice(func(c *Config) *string { return &c.AMQP.QueueType }, "queue type", []string{"quorum", "classic"}),
	},
	{
		section: "amqp", name: "concurrency", def: "64",
		why:   "How many messages of a queue a process has in hand at most.",
		value: integer(func(c *Config) *int { return &c.AMQP.Concurrency }, 10_000),
	},
	{
		section: "store", name: "driver", def: sqlite,
		why:   "Which database holds the ledger: sqlite (a file, one process) or postgres (any number of processes).",
		value: choice(func(c *Config) *string { return &c.Store.Driver }, "store driver", storeDrivers),
	},
	{
		section: "store", name: "path", def: "data/pizzamill.db",
		why:   "The SQLite file; its folder is made if it is missing, and one process at a time holds it.",
		value: text(func(c *Config) *string { return &c.Store.Path }, checkPath),
	},
	{
		section: "store", name: "dsn", def: "", secret: true,
		why:   "PostgreSQL, as postgres://USER:PASSWORD@HOST:PORT/DATABASE or as host=… user=… and so on.",
		value: text(func(c *Config) *string { return &c.Store.DSN }, checkDSN),
	},
	{
		section: "http", name: "listen", flag: "listen", def: "127.0.0.1:8080",
		why:   "Address of the order page and the API; :8080 opens it to the network.",
		value: text(func(c *Config) *string { return &c.HTTP.Listen }, checkListen),
	},
	{
		section: "admin", name: "listen", flag: "admin-listen", def: "127.0.0.1:8081",
		why:   "Address of the kitchen, probes and metrics; any that is not loopback wants admin.token.",
		value: text(func(c *Config) *string { return &c.Admin.Listen }, checkListen),
	},
	{
		section: "admin", name: "token", def: "", secret: true,
		why:   "What admin calls and pages must show (bearer token, or password of HTTP Basic); empty asks for none.",
		value: text(func(c *Config) *string { return &c.Admin.Token }, checkToken),
	},
	{
		section: "idempotency", name: "driver", def: auto,
		why:   "Where stages keep the IDs of processed events: memory, postgres, or auto: postgres where the store is and a broker carries messages.",
		value: choice(func(c *Config) *string { return &c.Idempotency.Driver }, "idempotency driver", idempotencyDrivers),
	},
	{
		section: "idempotency", name: "dsn", def: "", secret: true,
		why:   "The PostgreSQL database of those IDs; empty takes that of [store].",
		value: text(func(c *Config) *string { return &c.Idempotency.DSN }, checkDSN),
	},
	{
		section: "idempotency", name: "retention", def: "168h",
		why:   "How long PostgreSQL keeps an ID: longer than an event may lie on the broker.",
		value: durationUpTo(func(c *Config) *time.Duration { return &c.Idempotency.Retention }, time.Minute, 10*365*24*time.Hour),
	},
	{
		section: "retry", name: "max_attempts", def: "5",
		why:   "How often a stage tries an event before it becomes a dead letter; on Kafka all attempts together may take 45s.",
		value: integer(func(c *Config) *int { return &c.Retry.MaxAttempts }, 100),
	},
	{
		section: "retry", name: "initial_interval", def: "100ms",
		why:   "The pause after the first failed attempt; it grows with each further one.",
		value: duration(func(c *Config) *time.Duration { return &c.Retry.InitialInterval }),
	},
	{
		section: "retry", name: "max_interval", def: "5s",
		why:   "The longest pause between two attempts.",
		value: duration(func(c *Config) *time.Duration { return &c.Retry.MaxInterval }),
	},
	{
		section: "retry", name: "attempt_timeout", def: "5s",
		why:   "How long one attempt may take, for a stage that heeds its context: a hung one is cut off and retried.",
		value: duration(func(c *Config) *time.Duration { return &c.Retry.AttemptTimeout }),
	},
	{
		section: "log", name: "level", def: "info",
		why:   "The least severe lines that are logged: debug, info, warn or error.",
		value: choice(func(c *Config) *string { return &c.Log.Level }, "log level", []string{"debug", "info", "warn", "error"}),
	},
	{
		section: "log", name: "format", def: "auto",
		why:   "text for people, json for collectors; auto is text on a terminal, else json.",
		value: choice(func(c *Config) *string { return &c.Log.Format }, "log format", []string{"auto", "text", "json"}),
	},
	{
		section: "faults", name: "fail", def: "",
		why:   `Shares of pizzas whose every attempt fails, such as ["cheese=0.1"]: the same pizzas each time.`,
		value: shares(func(c *Config) *map[string]float64 { return &c.Faults.Fail }),
	},
	{
		section: "faults", name: "panic", def: "",
		why:   `Shares of pizzas whose every attempt panics, such as ["cheese=0.1"]: the same pizzas each time.`,
		value: shares(func(c *Config) *map[string]float64 { return &c.Faults.Panic }),
	},
	{
		section: "faults", name: "flaky", def: "",
		why:   `Shares of attempts that fail, such as ["meat=0.3"]: a retry mends them.`,
		value: shares(func(c *Config) *map[string]float64 { return &c.Faults.Flaky }),
	},
	{
		section: "faults", name: "delay", def: "",
		why:   `How much longer a stage takes, such as ["sauce=50ms"].`,
		value: delays(func(c *Config) *map[string]time.Duration { return &c.Faults.Delay }),
	},
}

// findKey returns the row of a key.
func findKey(section, name string) (key, bool) {
	for _, k := range keys {
		if k.section == section && k.name == name {
			return k, true
		}
	}
	return key{}, false
}

// sections returns the names of all sections, in order.
func sections() []string {
	var names []string
	for _, k := range keys {
		if n := len(names); n == 0 || names[n-1] != k.section {
			names = append(names, k.section)
		}
	}
	return names
}

// Flag is a flag of serve that sets a key.
type Flag struct{ Name, Default, Why string }

// Flags returns the flags that set a key, in the order of the table.
func Flags() []Flag {
	var flags []Flag
	for _, k := range keys {
		if k.flag != "" {
			flags = append(flags, Flag{Name: k.flag, Default: k.def, Why: k.why})
		}
	}
	return flags
}
