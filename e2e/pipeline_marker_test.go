package e2e

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The pipeline that a line has, and the one that comes to the same broker and prefix.
const (
	carried   = "sauce,cheese,meat,veggies"
	uncarried = "sauce,cheese,crust,meat,veggies"
)

// TestPipelineIsRefusedWhereAnotherOneIsCarried starts processes with another
// pipeline beside a line that works: one of stages, which has no ledger, and a
// whole line with a ledger of its own. Only the broker can know. On it they
// would dead-letter healthy pizzas.
func TestPipelineIsRefusedWhereAnotherOneIsCarried(t *testing.T) {
	t.Parallel()
	for _, bus := range brokers {
		t.Run(bus, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, bus, "sqlite")
			c.start(ledgerModules, "sauce,cheese", "meat,veggies")
			b := newBook(t)
			first := b.mustTake(c.front(), 20)
			another := []string{"PIPELINE_STAGES=" + uncarried, "STORE_PATH=" + filepath.Join(t.TempDir(), "own.db")}
			stage, line := c.beside("sauce,crust", another...), c.beside("all", another...)
			for range 2 { // a supervisor starts them again
				wantRefused(stage, "--modules=sauce,crust")
				wantRefused(line, "--modules=all")
			}
			r := line.command("doctor")
			if r.code == 0 || !strings.Contains(r.stdout, carried) || !strings.Contains(r.stdout, uncarried) {
				t.Errorf("doctor: exit status %d; want a failure and both pipelines\n%s%s", r.code, r.stdout, r.stderr)
			}
			second := b.mustTake(c.front(), 20)
			c.mustFinish(first, time.Minute)
			c.mustFinish(second, time.Minute)
			c.mustAudit(b)
			c.wantNoLetters()

			elsewhere := append(slices.Clone(another), "BUS_PREFIX="+c.prefix+"other.")
			stage, line = c.beside("sauce,crust", elsewhere...), c.beside("all", elsewhere...)
			c.boot(stage, line)
			line.mustComplete(line.mustOrder(5), time.Minute)
			c.stop(stage, line)
			c.stop(c.members...)

			// The ledger of who was refused does not hold on to the wrong pipeline.
			line = c.beside("all", another[1])
			c.boot(line)
			c.stop(line)
		})
	}
}

// beside returns a process with the cluster's settings that is none of it.
func (c *cluster) beside(modules string, settings ...string) *server {
	c.t.Helper()
	s := newServer(c.t, binary(c.t), append(slices.Clone(c.settings), settings...)...)
	s.args = []string{"serve", "--modules=" + modules}
	if !s.runs("pizza", "ui") {
		s.main = ""
	}
	return s
}

// wantRefused starts a process, which must end at once and say what to do.
func wantRefused(s *server, modules string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r := s.commandContext(ctx, "serve", modules)
	for _, want := range []string{carried, uncarried, "another [bus] prefix", "pizzamill.pipeline-marker"} {
		if r.code != 3 || !strings.Contains(r.stderr, want) {
			s.t.Errorf("%s: exit status %d; want 3 and %q\n%s", modules, r.code, want, r.stderr)
		}
	}
}
