package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/pizzamill/pizzamill/platform/store"
)

// conn is one connection with its prepared statements. It talks to the SQLite
// driver below database/sql, whose locks, conversions and (for a context that
// can end) goroutine per statement cost more than the statements themselves.
// It is not safe for concurrent use.
type conn struct {
	c     driver.Conn
	stmts map[string]statement
	args  []driver.NamedValue
}

// statement is what the SQLite driver's prepared statements can do.
type statement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

func connect(ctx context.Context, connector driver.Connector) (*conn, error) {
	c, err := connector.Connect(ctx)
	if err != nil {
		return nil, mark(err)
	}
	return &conn{c: c, stmts: map[string]statement{}}, nil
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.c.Close())...)
}

func (c *conn) prepare(sql string) (statement, error) {
	if s, ok := c.stmts[sql]; ok {
		return s, nil
	}
	p, err := c.c.Prepare(sql)
	if err != nil {
		return nil, mark(err)
	}
	s, ok := p.(statement)
	if !ok {
		return nil, errors.Join(fmt.Errorf("sqlite driver: statement is a %T", p), p.Close())
	}
	c.stmts[sql] = s
	return s, nil
}

// bind fills the arguments of the next statement; they are only read until it returns.
func (c *conn) bind(args []driver.Value) []driver.NamedValue {
	c.args = c.args[:0]
	for i, a := range args {
		c.args = append(c.args, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return c.args
}

// exec runs a statement. args are int64, string, []byte or nil.
func (c *conn) exec(sql string, args ...driver.Value) error {
	s, err := c.prepare(sql)
	if err != nil {
		return err
	}
	_, err = s.ExecContext(context.Background(), c.bind(args))
	return mark(err)
}

// query calls each with every row; the values are valid until it returns,
// text and blobs for good. each must not use the connection.
func (c *conn) query(sql string, each func(row []driver.Value) error, args ...driver.Value) (err error) {
	s, err := c.prepare(sql)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(context.Background(), c.bind(args))
	if err != nil {
		return mark(err)
	}
	defer func() { err = errors.Join(err, mark(rows.Close())) }()
	row := make([]driver.Value, len(rows.Columns()))
	for {
		switch err := rows.Next(row); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return mark(err)
		}
		if err := each(row); err != nil {
			return err
		}
	}
}

// mark wraps store.ErrUnavailable into the errors that are about the database
// and not about what was asked.
func mark(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY,
		sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN,
		sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return err
}

// Values of columns. A column of another type, which STRICT tables rule out,
// reads as zero.
func integer(v driver.Value) int64 { n, _ := v.(int64); return n }
func text(v driver.Value) string   { s, _ := v.(string); return s }
func blob(v driver.Value) []byte   { b, _ := v.([]byte); return b }

// nullable stores "" as NULL.
func nullable(s string) driver.Value {
	if s == "" {
		return nil
	}
	return s
}

func bytesOrNull(b []byte) driver.Value {
	if b == nil {
		return nil
	}
	return b
}

func boolean(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
