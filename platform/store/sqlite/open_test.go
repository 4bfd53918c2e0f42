package sqlite_test

import (
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pizzamill/pizzamill/platform/store/sqlite"
)

func mustOpen(t *testing.T, path string) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func mustClose(t *testing.T, db *sqlite.DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenMakesDirectoryAndFileForTheOwnerAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "deeper", "a b?#%&.db")
	db := mustOpen(t, path)
	defer mustClose(t, db)
	for name, want := range map[string]fs.FileMode{filepath.Dir(path): 0o700, path: 0o600, path + "-wal": 0o600, path + ".lock": 0o600} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", name, got, want)
		}
	}
}

func TestOpenSaysWhoHasTheDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	link := filepath.Join(t.TempDir(), "link.db")
	db := mustOpen(t, path)
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, link} {
		_, err := sqlite.Open(t.Context(), name)
		var inUse *sqlite.InUseError
		if !errors.As(err, &inUse) || inUse.PID != os.Getpid() || time.Since(inUse.Since) > time.Minute {
			t.Fatalf("a second open of %s: %v", name, err)
		}
	}
	mustClose(t, db)
	db = mustOpen(t, link)
	mustClose(t, db)
	mustClose(t, db) // again
}

func TestInUseErrorSaysWhatToDo(t *testing.T) {
	since := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for want, err := range map[string]error{
		"data/x.db is in use by process 1234 (since 2026-11-23T10:00:00Z); stop it, or choose another [store] path": &sqlite.InUseError{Path: "data/x.db", PID: 1234, Since: since},
		"data/x.db is in use by another process; stop it, or choose another [store] path":                           &sqlite.InUseError{Path: "data/x.db"},
	} {
		if err.Error() != want {
			t.Errorf("error is %q, want %q", err, want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	exec := func(path, query string) string {
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(query); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		return path
	}
	newer := filepath.Join(dir, "newer.db")
	mustClose(t, mustOpen(t, newer))
	exec(newer, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)")
	for want, path := range map[string]string{
		"path is empty":                   "",
		"not a SQLite database":           write("text.db", strings.Repeat("no database, but a long enough text. ", 50)),
		"database of another program":     exec(filepath.Join(dir, "other.db"), "CREATE TABLE other (x)"),
		"knows only up to":                newer,
		"make the database's directory: ": filepath.Join(write("file", ""), "ledger.db"),
		"is a directory":                  dir,
	} {
		db, err := sqlite.Open(t.Context(), path)
		if err == nil {
			mustClose(t, db)
			t.Errorf("%q was opened", path)
			continue
		}
		if !strings.Contains(err.Error(), want) || (path != "" && strings.Count(err.Error(), path) > 1) {
			t.Errorf("error is %q, want %q in it", err, want)
		}
	}
	var tooNew *sqlite.NewerError
	if _, err := sqlite.Open(t.Context(), newer); !errors.As(err, &tooNew) || tooNew.Have != 999 {
		t.Errorf("newer schema: %v", err)
	}
}
