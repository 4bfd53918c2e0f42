package ui

import (
	"slices"
	"strings"

	"github.com/pizzamill/pizzamill/platform/config"
)

// brokerName is what people call the bus of a configuration.
func brokerName(c config.Config) string {
	switch c.Bus.Driver {
	case "kafka":
		return "Kafka"
	case "amqp":
		return "RabbitMQ"
	default:
		return c.Bus.Driver
	}
}

// describeProcess says what this process runs, and on what. In memory there is no
// other one.
func describeProcess(c config.Config) string {
	storeName := "SQLite"
	if c.Store.Driver == "postgres" {
		storeName = "PostgreSQL"
	}
	on := ", " + brokerName(c) + " and " + storeName
	switch {
	case !c.OnBroker():
		return "one process" + on
	case !slices.Contains(c.App.Modules, "all"):
		return enumerate(c.App.Modules) + " in this process" + on
	case len(c.Pipeline.External) > 0:
		return "all modules but " + enumerate(c.Pipeline.External) + " in this process" + on
	default:
		return "all modules in this process" + on
	}
}

// enumerate writes names as a sentence would: "a, b and c".
func enumerate(names []string) string {
	n := len(names)
	if n < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
}
