package e2e

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// scale says whether to measure: nothing else should run on the machine then.
var scale = os.Getenv("PIZZAMILL_E2E") == "scale"

// scalePage is the page that a measuring run writes its tables into.
const scalePage = "../docs/scaling.md"

const (
	// slow is what a pizza takes in the stage that is measured. It waits and does
	// not compute, so that the machine's cores are not what bounds it.
	slow = time.Second
	// atATime is how many pizzas a process has in hand at once, by default.
	atATime = 64
	// window is how long the throughput is counted.
	window = 20 * time.Second
	// worth is the part of a process's throughput that each one more must add.
	worth = 0.8
)

// TestScale measures what more processes of a slow stage are worth, and what an
// order of 3 waits for behind one of 100,000, and writes the tables of the page.
func TestScale(t *testing.T) {
	if !scale {
		t.Skip("LEFT OUT: a measurement; make scale runs it")
	}
	var out strings.Builder
	out.WriteString(tableBegins + "\n")
	fmt.Fprintf(&out, "Measured on %d cores, %s/%s.\n\n", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	out.WriteString("| bus | processes of the slow stage | pizzas a second | times one process | a process is worth |\n|---|---|---|---|---|\n")
	for _, bus := range []string{"kafka", "amqp"} {
		one := 0.0
		for _, n := range []int{1, 2, 4} {
			t.Run(fmt.Sprintf("%s, %d processes", bus, n), func(t *testing.T) {
				rate := throughput(t, bus, 8, n)
				if n == 1 {
					one = rate
				}
				fmt.Fprintf(&out, "| %s | %d | %.0f | %.2f | %.2f |\n", bus, n, rate, rate/one, rate/one/float64(n))
				if rate < worth*float64(n)*one {
					t.Errorf("%d processes make %.1f pizzas a second and one makes %.1f", n, rate, one)
				}
			})
		}
		if bus == "kafka" {
			// What is bounded must show, or the measurement shows nothing.
			t.Run("kafka, 4 processes, 2 partitions", func(t *testing.T) {
				rate := throughput(t, bus, 2, 4)
				fmt.Fprintf(&out, "| kafka, 2 partitions | 4 | %.0f | %.2f | %.2f |\n", rate, rate/one, rate/one/4)
				if rate > worth*4*one {
					t.Errorf("two of four processes have no partition and all count: %.1f pizzas a second", rate)
				}
			})
		}
	}
	out.WriteString("\n| bus | an order of 3 behind one of 100,000: median of 5 | longest |\n|---|---|---|\n")
	for _, on := range []backing{{"gochannel", "sqlite"}, {"kafka", "postgres"}, {"amqp", "postgres"}} {
		t.Run("an order of 3 on "+on.String(), func(t *testing.T) {
			took := behind(t, on)
			fmt.Fprintf(&out, "| %s | %s | %s |\n", on, took[len(took)/2].Round(10*time.Millisecond), took[len(took)-1].Round(10*time.Millisecond))
		})
	}
	if t.Failed() {
		t.Logf("%s stays as it is\n%s", scalePage, &out)
		return
	}
	intro, _, found := strings.Cut(readFile(scalePage), tableBegins)
	if !found {
		t.Fatalf("%s has no line %q", scalePage, tableBegins)
	}
	if err := os.WriteFile(scalePage, []byte(intro+out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// throughput returns how many pizzas a second pass a slow stage that n processes
// run, with everything else in two processes beside them and always enough to do.
func throughput(t *testing.T, bus string, partitions, n int) float64 {
	t.Helper()
	c := newCluster(t, bus, "postgres", "FAULTS_DELAY=meat="+slow.String(), fmt.Sprintf("KAFKA_PARTITIONS=%d", partitions))
	c.start(ledgerModules, "sauce,cheese,veggies")
	for range n {
		c.start("meat")
	}
	c.front().mustOrder(atATime * n * 120)
	meats := c.with("meat")
	handled := func() (sum float64, idle int) {
		for _, s := range meats {
			done := s.mustScrape().sum("pizzamill_handled_total", `module="meat"`, `outcome="ok"`)
			sum += done
			if done < 2*atATime {
				idle++
			}
		}
		return sum, idle
	}
	// On Kafka processes beyond the partitions have nothing to do.
	beyond := 0
	if bus == "kafka" {
		beyond = max(0, n-partitions)
	}
	poll(t, 90*time.Second, "every process is at work", func() bool {
		_, idle := handled()
		return idle <= beyond
	})
	before, _ := handled()
	began := time.Now()
	<-time.After(window) // what is measured is what happens in it
	after, _ := handled()
	rate := (after - before) / time.Since(began).Seconds()
	t.Logf("%s, %d partitions, %d processes: %.1f pizzas a second", bus, partitions, n, rate)
	for _, s := range c.members {
		s.kill() // the rest of the order is of no interest
	}
	return rate
}

// behind returns how long each of five orders of 3 took, in ascending order, that
// were placed one after the other behind one of 100,000.
func behind(t *testing.T, on backing) []time.Duration {
	t.Helper()
	c := newCluster(t, on.bus, on.store)
	if on.bus == "gochannel" {
		c.start("all")
	} else {
		c.start(ledgerModules, "sauce,cheese", "meat,veggies")
	}
	s := c.front()
	big := s.mustOrder(100_000)
	s.awaitProgress(big, "dispatched", 4000)
	var took []time.Duration
	for range 5 {
		began := time.Now()
		s.mustComplete(s.mustOrder(3), 30*time.Second)
		took = append(took, time.Since(began))
	}
	var o orderDoc
	s.mustGet(s.main, "/api/orders/"+big+"?limit=1", &o)
	if o.Status != "cooking" {
		t.Errorf("the order of 100,000 was %s before the small ones were done: this showed nothing", o.Status)
	}
	slices.Sort(took)
	if longest := took[len(took)-1]; longest > 10*time.Second {
		t.Errorf("an order of 3 behind one of 100,000 took %s", longest)
	}
	t.Logf("%s: %v, with %d of 100,000 complete", on, took, o.Completed)
	for _, s := range c.members {
		s.kill()
	}
	return took
}
