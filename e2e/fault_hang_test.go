package e2e

import (
	"testing"
)

// TestStopWhileKafkaHangs stops all processes under load while the broker takes
// connections and answers nothing: what is in hand is cut off, exit 0, in time,
// and everything is complete once all is there again.
func TestStopWhileKafkaHangs(t *testing.T) {
	t.Parallel()
	own := startOwn(t, "kafka")
	c := own.cluster("kafka", "sqlite")
	c.start(ledgerModules, "sauce,cheese,meat,veggies")
	b := newBook(t)
	id := b.mustTake(c.front(), 3000)
	c.front().awaitProgress(id, "complete", 10)
	own.must("pause", "kafka")
	c.stop(c.members...)
	own.must("resume", "kafka")
	c.boot(c.members...)
	c.mustAudit(b)
	c.wantNoLetters()
	c.stop(c.members...)
}
