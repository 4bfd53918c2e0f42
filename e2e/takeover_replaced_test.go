package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestClusterReplacedUnderRunningProcesses wipes Kafka while pizzas are in
// flight: behind the same address is a fresh cluster then. No process is
// restarted. The ledger starts its open orders again, and stages that processed
// their events on the old cluster do so again on the new one: what they made is
// gone with it.
func TestClusterReplacedUnderRunningProcesses(t *testing.T) {
	t.Parallel()
	own := startOwn(t, "kafka")
	c := own.cluster("kafka", "sqlite")
	c.start(ledgerModules, "sauce,cheese,meat")
	b := newBook(t)
	id := b.mustTake(c.front(), 5)
	c.front().awaitProgress(id, "meat", 5)
	own.must("down", "kafka")
	if err := os.RemoveAll(filepath.Join(own.state, "kafka", "data")); err != nil {
		t.Fatal(err)
	}
	own.must("up", "kafka")
	c.start("veggies")
	c.mustFinish(id, time.Minute)
	c.mustAudit(b)
	c.wantNoLetters()
	c.stop(c.members...)
}
