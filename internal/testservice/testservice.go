// Package testservice tells tests where the real Kafka, RabbitMQ and PostgreSQL
// are. scripts/test.sh starts them and exports their addresses; only tests
// import this package.
package testservice

import (
	"fmt"
	"os"
	"sync"
	"testing"
)

// What the environment says about the servers.
const (
	envKafka      = "PIZZAMILL_TEST_KAFKA"               // host:port
	envAMQP       = "PIZZAMILL_TEST_AMQP"                // amqp://user:password@host:port/
	envManagement = "PIZZAMILL_TEST_RABBITMQ_MANAGEMENT" // http://user:password@host:port
	envPostgres   = "PIZZAMILL_TEST_POSTGRES"            // postgres://user:password@host:port/database
	envRequired   = "PIZZAMILL_TEST_SERVICES"            // "required": a missing server is a failure
)

// Kafka returns the host:port of a real Kafka broker. Others use it at the same
// time: a test needs a prefix of its own. Without a broker the test is skipped,
// or fails where the servers must not be missing (CI=true, or
// PIZZAMILL_TEST_SERVICES=required). So it is with all functions here.
func Kafka(t testing.TB) string {
	t.Helper()
	return address(t, "Kafka", envKafka)
}

// AMQP returns the URL of a real RabbitMQ, with its default vhost. See VHost for
// one that nobody else uses.
func AMQP(t testing.TB) string {
	t.Helper()
	return address(t, "RabbitMQ", envAMQP)
}

// Management returns the URL of the management API of the same RabbitMQ, user
// and password included.
func Management(t testing.TB) string {
	t.Helper()
	return address(t, "RabbitMQ's management API", envManagement)
}

// Postgres returns the DSN, a URL, of a database on a real PostgreSQL. See
// Database for one that nobody else uses.
func Postgres(t testing.TB) string {
	t.Helper()
	return address(t, "PostgreSQL", envPostgres)
}

func address(t testing.TB, server, variable string) string {
	t.Helper()
	value := os.Getenv(variable)
	switch {
	case value != "":
	case os.Getenv("CI") == "true" || os.Getenv(envRequired) == "required":
		t.Fatalf("NOT RUN: it needs a real %s, and %s is not set; run it by scripts/test.sh", server, variable)
	default:
		if _, told := missing.LoadOrStore(server, true); !told {
			announce(fmt.Sprintf("pizzamill: NO %s, its tests are left out: make test starts one, or %s says where there is one", server, variable))
		}
		t.Skipf("NOT RUN: it needs a real %s, and %s is not set", server, variable)
	}
	return value
}

// missing holds the servers that a person was told about.
var missing sync.Map

// announce tells a person something even if all tests pass. The go command
// shows nothing of a package that passes, so where the system lets one, the
// line goes to the standard error of the go command itself.
var announce = func(line string) {
	parent := fmt.Sprintf("/proc/%d/fd/2", os.Getppid())
	if f, err := os.OpenFile(parent, os.O_WRONLY|os.O_APPEND, 0); err == nil {
		fmt.Fprintln(f, line)
		_ = f.Close()
		return
	}
	fmt.Fprintln(os.Stderr, line)
}
