package pg_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pizzamill/pizzamill/platform/pg"
)

// What an error says decides whether the innocent hear of it: a mistake here
// makes one bad row an outage, or an outage many bad rows.
func TestErrorClasses(t *testing.T) {
	type class struct{ unavailable, broken, conflict bool }
	var (
		nothing     = class{}
		conflict    = class{conflict: true}
		unavailable = class{unavailable: true}
		broken      = class{unavailable: true, broken: true}
	)
	sqlState := func(code string) error { return &pgconn.PgError{Code: code} }
	for name, c := range map[string]struct {
		err  error
		want class
	}{
		"none":                      {nil, nothing},
		"a caller that went away":   {context.Canceled, nothing},
		"some other error":          {errors.New("no such stage"), nothing},
		"no answer in time":         {context.DeadlineExceeded, broken},
		"end of the connection":     {io.ErrUnexpectedEOF, broken},
		"network":                   {&net.OpError{Op: "read", Err: errors.New("reset")}, broken},
		"database/sql":              {driver.ErrBadConn, broken},
		"closed":                    {pgconn.ErrConnClosed, broken},
		"connecting":                {&pgconn.ConnectError{}, broken},
		"unique violation":          {sqlState("23505"), conflict},
		"serialization failure":     {sqlState("40001"), conflict},
		"deadlock":                  {sqlState("40P01"), conflict},
		"lock timeout":              {sqlState("55P03"), conflict},
		"check violation":           {sqlState("23514"), nothing},
		"syntax error":              {sqlState("42601"), nothing},
		"bad text":                  {sqlState("22021"), nothing},
		"no privilege":              {sqlState("42501"), nothing},
		"disk full":                 {sqlState("53100"), unavailable},
		"too many connections":      {sqlState("53300"), unavailable},
		"statement timeout":         {sqlState("57014"), unavailable},
		"admin shutdown":            {sqlState("57P01"), broken},
		"starting up":               {sqlState("57P03"), broken},
		"idle in transaction":       {sqlState("25P03"), broken},
		"read only":                 {sqlState("25006"), unavailable},
		"I/O error of the server":   {sqlState("58030"), unavailable},
		"wrong password":            {sqlState("28P01"), unavailable},
		"no such database":          {sqlState("3D000"), unavailable},
		"the tables are gone":       {sqlState("42P01"), unavailable},
		"no SQLSTATE at all":        {sqlState(""), nothing},
		"connection failure, state": {sqlState("08006"), broken},
	} {
		wrapped := c.err
		if wrapped != nil {
			wrapped = fmt.Errorf("commit: %w", c.err)
		}
		if name == "connecting" {
			wrapped = c.err // one that was made here has no text
		}
		got := class{pg.Unavailable(wrapped), pg.Broken(wrapped), pg.Conflict(wrapped)}
		if got != c.want {
			t.Errorf("%s: unavailable, broken, conflict are %v, want %v", name, got, c.want)
		}
	}
}
