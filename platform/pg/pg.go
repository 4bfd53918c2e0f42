// Package pg has what all that keeps something in PostgreSQL here shares: a
// connection string that is checked and shown nowhere, sessions that notice a
// server which hangs, which errors say nothing about what was asked, and
// migrations.
package pg

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Patience is how long a session waits for one answer of the server. A server
// that hangs does not close its connections, so nothing else would tell.
const Patience = 10 * time.Second

// connectTimeout is how long one address of the connection string may take.
const connectTimeout = 5 * time.Second

// settings are those of every session, in milliseconds and seconds. The server
// gives up before Patience is over, so that what it does and what was answered
// are the same wherever possible.
//
// Plans are pinned to nested loops over indexes: each statement has its index,
// and statistics lag behind tables that grow by thousands of rows a second.
var settings = map[string]string{
	"statement_timeout": "8000",
	"lock_timeout":      "4000",
	// A process that stops between two statements must not hold up the others.
	"idle_in_transaction_session_timeout": "5000",
	// A host that is gone must not keep its locks.
	"tcp_keepalives_idle":     "10",
	"tcp_keepalives_interval": "5",
	"tcp_keepalives_count":    "3",
	"enable_seqscan":          "off",
	"enable_bitmapscan":       "off",
	"enable_hashjoin":         "off",
	"enable_mergejoin":        "off",
	"jit":                     "off",
}

// Parse reads a connection string, a URL or key=value pairs, and sets what
// every session needs. key names it in errors, which never show it. Nothing is
// connected.
func Parse(key, dsn string) (*pgxpool.Config, error) {
	malformed := func(why string) error {
		return fmt.Errorf("%s is malformed%s; it looks like postgres://user:password@host:5432/database?sslmode=require", key, why)
	}
	if strings.TrimSpace(dsn) == "" {
		return nil, errors.New(key + " is empty")
	}
	c, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		// The library's text has parts of what it could not read.
		switch text := err.Error(); {
		case strings.Contains(text, "sslmode is invalid"):
			return nil, malformed(": sslmode is none of disable, allow, prefer, require, verify-ca, verify-full")
		case strings.Contains(text, "invalid port"):
			return nil, malformed(": the port is no number, or a special character of the password is not percent-encoded")
		default:
			return nil, malformed("")
		}
	}
	// A password with a slash or the like ends up elsewhere, and would be shown
	// by the server's errors.
	if strings.Contains(c.ConnConfig.Database+c.ConnConfig.Host, "@") {
		return nil, malformed(": a special character of the password is not percent-encoded")
	}
	maps.Copy(c.ConnConfig.RuntimeParams, settings)
	if c.ConnConfig.RuntimeParams["application_name"] == "" {
		c.ConnConfig.RuntimeParams["application_name"] = applicationName()
	}
	if c.ConnConfig.ConnectTimeout <= 0 {
		c.ConnConfig.ConnectTimeout = connectTimeout
	}
	c.PingTimeout = Patience
	return c, nil
}

// applicationName tells people at the server who a session belongs to.
func applicationName() string {
	const limit = 63 // bytes that the server keeps
	host, err := os.Hostname()
	if err != nil {
		host = "?"
	}
	name := fmt.Sprintf("pizzamill %d on %s", os.Getpid(), host)
	return name[:min(len(name), limit)]
}

// Within returns a context for one answer of the server. It goes on when ctx is
// cancelled: a statement takes less time than the new connection that it would
// cost to cut it off.
func Within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), Patience)
}
