package pg

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
)

// Unavailable reports whether an error says nothing about what was asked: the
// server is away, hangs, starts, stops, is full, read-only or another one than
// it was. After Unavailable of a COMMIT its outcome is not known.
func Unavailable(err error) bool {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return unavailableCode(e.Code)
	}
	return Broken(err)
}

// Broken reports whether an error ended the connection it came from, or kept it
// from being made.
func Broken(err error) bool {
	var refused *pgconn.ConnectError
	var network net.Error
	var e *pgconn.PgError
	switch {
	case errors.As(err, &refused), errors.Is(err, pgconn.ErrConnClosed), pgconn.Timeout(err):
		return true
	case errors.As(err, &e):
		return len(e.Code) == 5 && (e.Code[:2] == "08" || e.Code[:3] == "57P" || e.Code == "25P03")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, driver.ErrBadConn):
		return true
	default:
		return errors.As(err, &network) || errors.Is(err, net.ErrClosed)
	}
}

// unavailableCode reports it of an SQLSTATE.
func unavailableCode(code string) bool {
	if len(code) != 5 {
		return false
	}
	switch code[:2] {
	case "08", // connection exception
		"28", // who may connect
		"53", // disk full, out of memory, too many connections
		"57", // cancelled, shutting down, starting up
		"58", // the server's disk
		"3D", // no such database
		"3F": // no such schema
		return true
	}
	switch code {
	case "25006", // read only
		"55000", // the database takes no connections
		"25P03", // the session was ended while this process stood still
		"42P01": // the tables are gone
		return true
	default:
		return false
	}
}

// Conflict reports whether another process got in the way of a transaction, so
// that it is right to do it again as it is.
func Conflict(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case "40001", // serialization failure
		"40P01", // deadlock
		"55P03", // waited too long for a lock
		"23505": // both inserted the same row
		return true
	default:
		return false
	}
}
