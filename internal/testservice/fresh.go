package testservice

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// patience is how long a server may take to make or to remove something.
const patience = 30 * time.Second

// Database makes an empty database on the PostgreSQL of Postgres and returns its
// DSN. It is dropped when the test ends, under whatever connections remain.
func Database(t testing.TB) string {
	t.Helper()
	server := Postgres(t)
	dsn, err := url.Parse(server)
	if err != nil || !strings.HasPrefix(dsn.Scheme, "postgres") {
		t.Fatalf("%s is not a URL that starts with postgres://", envPostgres)
	}
	name := fresh()
	run := func(statement string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		conn, err := pgx.Connect(ctx, server)
		if err != nil {
			t.Errorf("connect to the PostgreSQL of %s: %v", envPostgres, err)
			return
		}
		if _, err := conn.Exec(ctx, statement); err != nil {
			t.Errorf("%s: %v", statement, err)
		}
		if err := conn.Close(ctx); err != nil {
			t.Errorf("close the connection to PostgreSQL: %v", err)
		}
	}
	run("CREATE DATABASE " + name)
	if t.Failed() {
		t.FailNow()
	}
	t.Cleanup(func() { run("DROP DATABASE IF EXISTS " + name + " WITH (FORCE)") })
	dsn.Path = "/" + name
	return dsn.String()
}

// VHost makes an empty vhost on the RabbitMQ of AMQP and returns its URL. It is
// deleted when the test ends, with all queues and under whatever connections
// remain.
func VHost(t testing.TB) string {
	t.Helper()
	broker, err := url.Parse(AMQP(t))
	if err != nil || broker.User == nil {
		t.Fatalf("%s is not a URL with user and password", envAMQP)
	}
	api := strings.TrimSuffix(Management(t), "/")
	name := fresh()
	run := func(method, path, body string) {
		t.Helper()
		if err := call(method, api+path, body); err != nil {
			t.Errorf("vhost %s: %v", name, err)
		}
	}
	run(http.MethodPut, "/api/vhosts/"+name, "{}")
	t.Cleanup(func() { run(http.MethodDelete, "/api/vhosts/"+name, "") })
	run(http.MethodPut, "/api/permissions/"+name+"/"+url.PathEscape(broker.User.Username()),
		`{"configure":".*","write":".*","read":".*"}`)
	if t.Failed() {
		t.FailNow()
	}
	broker.Path = "/" + name
	return broker.String()
}

// call makes a request of the management API; its URL has user and password.
func call(method, address, body string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("request to the management API: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Close = true // no idle connection for a test to find as a leak
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("management API: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("management API: %s %s: %s", method, req.URL.Path, resp.Status)
	}
	return nil
}

// fresh returns a name that nobody else uses and that needs no quoting in SQL or
// in a URL.
func fresh() string { return "pizzamill_test_" + strings.ToLower(rand.Text()[:16]) }
