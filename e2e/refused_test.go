package e2e

import (
	"strings"
	"testing"

	"github.com/pizzamill/pizzamill/internal/testservice"
)

// TestRefusedShapes starts what docs/parity.md has as n/a: each is refused, and
// told why and what works.
func TestRefusedShapes(t *testing.T) {
	away := []string{"BUS_DRIVER=kafka", "KAFKA_BROKERS=127.0.0.1:1"}

	t.Run("a part of the modules on gochannel", func(t *testing.T) {
		s := newServer(t, binary(t))
		for _, modules := range []string{"sauce", ledgerModules} {
			r := s.command("serve", "--modules="+modules)
			if r.code != 2 || !strings.Contains(r.stderr, "--modules "+modules+" --bus kafka") {
				t.Errorf("--modules=%s: exit status %d; want 2 and the command that works\n%s", modules, r.code, r.stderr)
			}
		}
	})
	t.Run("a second process on a SQLite file", func(t *testing.T) {
		s := newServer(t, binary(t), away...)
		s.args = append(s.args, "--modules="+ledgerModules)
		s.boot()
		s.awaitTaking()
		r := s.command("serve", "--modules="+ledgerModules, "--listen", freeAddr(t), "--admin-listen", freeAddr(t))
		if r.code != 1 || !strings.Contains(r.stderr, pid(s)) {
			t.Errorf("exit status %d; want 1 and process %s named\n%s", r.code, pid(s), r.stderr)
		}
		// A part of them cannot have the ledger alone, whoever else runs.
		r = s.command("serve", "--modules=journal")
		if r.code != 2 || !strings.Contains(r.stderr, "--modules "+ledgerModules+" --bus kafka") {
			t.Errorf("--modules=journal: exit status %d; want 2 and the command that works\n%s", r.code, r.stderr)
		}
	})
	t.Run("a second process on PostgreSQL with gochannel", func(t *testing.T) {
		s := start(t, "STORE_DRIVER=postgres", "STORE_DSN="+testservice.Database(t))
		r := s.command("serve", "--listen", freeAddr(t), "--admin-listen", freeAddr(t))
		if r.code != 1 || !strings.Contains(r.stderr, pid(s)) {
			t.Errorf("exit status %d; want 1 and process %s named\n%s", r.code, pid(s), r.stderr)
		}
		s.mustComplete(s.mustOrder(2), refusalLimit)
	})
}
