package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// TestTakeoverFromTheDead waits for processes that do not say that they leave:
// one is killed, one hangs. When the one that hung goes on, it is left behind.
func TestTakeoverFromTheDead(t *testing.T) {
	if !full {
		t.Skip("LEFT OUT: a process is given up after half a minute; make test runs it")
	}
	t.Parallel()
	to := newTakeover(t, move{from: "kafka", to: "amqp", store: "postgres"}, binary(t))
	killed, hung := to.add(to.old, ledgerModules), to.add(to.old, ledgerModules)
	stages := to.add(to.old, strings.Join(pipeline, ","))
	to.old.boot(killed, hung, stages)
	to.bake(killed)
	next := to.add(to.next, ledgerModules)
	nextStages := to.add(to.next, strings.Join(pipeline, ","))
	to.next.boot(nextStages)

	hung.pause()
	killed.kill()
	died := time.Now()
	next.boot()
	next.awaitTaking()
	for _, s := range []*server{killed, hung} {
		who := fmt.Sprintf("process %d ", s.proc.cmd.Process.Pid)
		poll(t, 10*time.Second, "the new process says that it waits for "+who, func() bool {
			return strings.Contains(next.readyz(t), who)
		})
	}
	to.book.mustTake(next, 3)
	to.remember(next)
	next.awaitReady()
	if took := time.Since(died); took < 20*time.Second || took > 40*time.Second {
		t.Errorf("the ledger was taken over %s after its processes were last heard of, want half a minute", took)
	} else {
		t.Logf("taken over %s after its processes were last heard of", took.Round(time.Millisecond))
	}
	to.wantLeftBehind(hung, next)
	for _, f := range to.findings(next) {
		t.Error(f)
	}
	to.next.wantNoLetters()
	to.next.wantCleanRows()
	to.old.stop(hung, stages)
	to.next.stop(next, nextStages)
}

// wantLeftBehind lets a process go on that was given up. It takes orders, which
// the others get done, and puts nothing on its own bus.
func (to *takeover) wantLeftBehind(hung, next *server) {
	to.t.Helper()
	before := to.old.records("pizza")
	hung.resume()
	poll(to.t, 20*time.Second, "the process says that it is left behind", func() bool {
		return strings.Contains(hung.readyz(to.t), "left behind")
	})
	id := to.book.mustTake(hung, 10)
	next.mustComplete(id, 30*time.Second)
	if says := hung.readyz(to.t); !strings.Contains(says, "left behind") {
		to.t.Errorf("the process that was left behind says: %s", says)
	}
	if after := to.old.records("pizza"); after != before {
		to.t.Errorf("%d pizzas were put on the bus that was left", after-before)
	}
}

// records returns how many records were ever put on a topic on Kafka.
func (c *cluster) records(topic string) int64 {
	c.t.Helper()
	client, err := sarama.NewClient(strings.Split(c.setting("KAFKA_BROKERS"), ","), sarama.NewConfig())
	if err != nil {
		c.t.Fatalf("connect to Kafka: %v", err)
	}
	defer client.Close()
	partitions, err := client.Partitions(c.prefix + topic)
	if err != nil {
		c.t.Fatalf("partitions of %s: %v", topic, err)
	}
	sum := int64(0)
	for _, p := range partitions {
		next, err := client.GetOffset(c.prefix+topic, p, sarama.OffsetNewest)
		if err != nil {
			c.t.Fatalf("offset of %s: %v", topic, err)
		}
		sum += next
	}
	return sum
}

// TestAnotherPipelineIsRefused starts another pipeline under the prefix of the
// first. Neither a broker that still has the first one's topics nor an empty
// backlog makes that right.
func TestAnotherPipelineIsRefused(t *testing.T) {
	t.Parallel()
	for _, on := range []backing{{"kafka", "sqlite"}, {"amqp", "postgres"}} {
		t.Run(on.String(), func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, on.bus, on.store)
			c.start("all")
			c.front().mustComplete(c.front().mustOrder(3), cellLimit)
			c.stop(c.members...)
			s := c.add("all", "PIPELINE_STAGES="+strings.Join(crusted, ","))
			s.boot()
			code, ok := s.proc.wait(20 * time.Second)
			if says := s.proc.errors(); !ok || code != 3 || !strings.Contains(says, "another [bus] prefix") {
				t.Errorf("another pipeline under the same prefix: over %v, exit status %d, want 3 and the remedy\n%s", ok, code, tail(says))
			}
			s.env = append(s.env, "BUS_PREFIX="+c.prefix+"crust.")
			c.boot(s)
			c.front().mustComplete(c.front().mustOrder(3), cellLimit)
			c.stop(s)
		})
	}
}
