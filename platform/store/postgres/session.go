package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pizzamill/pizzamill/platform/pg"
)

// session is one transaction. Messages to the server are few: BEGIN goes out
// with the first statement, and what is written goes out with the COMMIT.
type session struct {
	ctx     context.Context // of the caller
	begin   string
	connect func() (*pgx.Conn, error)

	c       *pgx.Conn // nil before the first statement
	written []query   // waits for the next message
}

// query is one statement. scan is called for each row that it returns.
type query struct {
	sql  string
	args []any
	scan func(pgx.Rows) error
}

// query sends what was written and then q.
func (s *session) query(q query) error {
	s.written = append(s.written, q)
	trip := s.written
	s.written = nil
	return s.send(trip)
}

// write puts a statement into the next message.
func (s *session) write(sql string, args ...any) {
	s.written = append(s.written, query{sql: sql, args: args})
}

// send sends statements in one message and reads what comes back.
func (s *session) send(trip []query) error {
	if s.c != nil {
		_, err := exchange(s.ctx, s.c, trip)
		return mark(err)
	}
	trip = append([]query{{sql: s.begin}}, trip...)
	for again := true; ; again = false {
		c, err := s.connect()
		if err != nil {
			return err
		}
		rows, err := exchange(s.ctx, c, trip)
		// A connection that lay idle may have broken long ago. Nothing of the
		// transaction happened yet, so another one does. Not so if the server
		// hangs: that has cost enough time.
		if again && rows == 0 && pg.Broken(err) && !pgconn.Timeout(err) {
			continue
		}
		s.c = c
		return mark(err)
	}
}

// exchange returns how many rows it has read. An error leaves no answer unread,
// or the connection closed.
func exchange(ctx context.Context, c *pgx.Conn, trip []query) (rows int, err error) {
	ctx, cancel := pg.Within(ctx)
	defer cancel()
	var b pgx.Batch
	for _, q := range trip {
		queued := b.Queue(q.sql, q.args...)
		if q.scan == nil {
			continue
		}
		queued.Query(func(r pgx.Rows) error {
			for r.Next() {
				rows++
				if err := q.scan(r); err != nil {
					return err
				}
			}
			return r.Err()
		})
	}
	err = c.SendBatch(ctx, &b).Close()
	if pg.Broken(err) && !c.IsClosed() {
		_ = closeConn(c) // by the server, which still tells why
	}
	return rows, err
}

// commit ends the transaction together with what was written.
func (s *session) commit() error {
	if s.c == nil {
		if len(s.written) == 0 {
			return nil
		}
		// Alone, so that a connection that had broken can be replaced: after
		// the COMMIT nobody could know whether it was done.
		if err := s.send(nil); err != nil {
			return err
		}
	}
	if len(s.written) == 0 && s.c.PgConn().TxStatus() != 'T' {
		return errRollback
	}
	var end pgconn.CommandTag
	ctx, cancel := pg.Within(s.ctx)
	defer cancel()
	var b pgx.Batch
	for _, q := range s.written {
		b.Queue(q.sql, q.args...)
	}
	b.Queue("COMMIT").Exec(func(tag pgconn.CommandTag) error {
		end = tag
		return nil
	})
	err := s.c.SendBatch(ctx, &b).Close()
	switch {
	case err != nil:
		if pg.Broken(err) && !s.c.IsClosed() {
			_ = closeConn(s.c)
		}
		return mark(err)
	case end.String() != "COMMIT":
		return errRollback
	}
	return nil
}

// rollback ends a transaction that is still open. A connection that cannot do
// it is closed.
func (s *session) rollback() {
	if s.c == nil || s.c.IsClosed() || s.c.PgConn().TxStatus() == 'I' {
		return
	}
	ctx, cancel := pg.Within(s.ctx)
	defer cancel()
	if _, err := s.c.Exec(ctx, "ROLLBACK"); err != nil && !s.c.IsClosed() {
		_ = closeConn(s.c)
	}
}
