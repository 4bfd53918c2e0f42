package e2e

import (
	"context"
	"database/sql"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

// TestStoreCannotWrite takes the database away from a process in the middle of
// its work, as a stuck backup or a full disk would. Orders are refused with a
// time to come back, the process says that it is not ready, and everything in
// hand waits: nothing is lost and nothing becomes a dead letter.
func TestStoreCannotWrite(t *testing.T) {
	s := start(t, append([]string{"LOG_LEVEL=error"}, quickRetries...)...)
	b := newBook(t)
	id, _ := b.place(t.Context(), s, request{count: 2000})
	s.awaitProgress(id, "dispatched", 100)

	release := s.takeStore()
	r := send(t, s.main, order11(`{"count":3}`, "Idempotency-Key: while away"))
	wantProblem(t, r, http.StatusServiceUnavailable)
	if r.header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	for _, addr := range []string{s.main, s.admin} {
		wantProblem(t, send(t, addr, request11("GET", "/readyz", addr, nil, "")), http.StatusServiceUnavailable)
	}
	if r := send(t, s.main, request11("GET", "/livez", s.main, nil, "")); r.status != http.StatusOK {
		t.Errorf("not alive without the store: status %d", r.status)
	}
	release()

	s.awaitReady()
	b.place(t.Context(), s, request{count: 3, key: "while away"})
	a := newAudit(s, b)
	mustRun(t, a)
	if len(a.findings) > 0 {
		t.Error(a.summary())
	}
	if letters := s.letters(""); len(letters) > 0 {
		t.Errorf("%d dead letters, the first: %+v", len(letters), letters[0])
	}
}

// takeStore keeps the server from writing to its database until release is called.
func (s *server) takeStore() (release func()) {
	s.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.dir, "data", "pizzamill.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	conn, err := db.Conn(ctx)
	if err == nil {
		_, err = conn.ExecContext(ctx, "BEGIN IMMEDIATE")
	}
	if err != nil {
		s.t.Fatalf("take the database away: %v", err)
	}
	return func() {
		defer cancel()
		if _, err := conn.ExecContext(ctx, "ROLLBACK"); err != nil {
			s.t.Errorf("give the database back: %v", err)
		}
		if err := db.Close(); err != nil {
			s.t.Error(err)
		}
	}
}
