package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// metrics are the samples of one scrape, by series as they are written:
// name{label="value",…} with the labels in alphabetical order.
type metrics map[string]float64

// scrape reads /metrics of the admin listener.
func (s *server) scrape(ctx context.Context) (metrics, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.admin+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET /metrics: %s", res.Status)
	}
	m := metrics{}
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		line := lines.Text()
		i := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || i < 0 {
			continue
		}
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metric %q: %w", line, err)
		}
		m[line[:i]] = v
	}
	return m, lines.Err()
}

func (s *server) mustScrape() metrics {
	s.t.Helper()
	m, err := s.scrape(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// pizzas returns how many pizzas are in a state.
func (m metrics) pizzas(state string) int {
	return int(m[`pizzamill_pizzas{state="`+state+`"}`])
}

// sum adds up the series of a metric that have all the labels.
func (m metrics) sum(name string, labels ...string) float64 {
	total := 0.0
series:
	for series, v := range m {
		if base, _, _ := strings.Cut(series, "{"); base != name {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(series, l) {
				continue series
			}
		}
		total += v
	}
	return total
}

// unbalanced says how the gauges break ordered = completed + in flight +
// dead-lettered, or nothing.
func (m metrics) unbalanced() string {
	if _, ok := m[`pizzamill_pizzas{state="ordered"}`]; !ok {
		return "pizzamill_pizzas is missing"
	}
	ordered, completed := m.pizzas("ordered"), m.pizzas("completed")
	inFlight, dead := m.pizzas("in_flight"), m.pizzas("dead_lettered")
	if ordered == completed+inFlight+dead && min(ordered, completed, inFlight, dead) >= 0 {
		return ""
	}
	return fmt.Sprintf("%d ordered, but %d completed, %d in flight, %d dead-lettered", ordered, completed, inFlight, dead)
}

// sampler scrapes /metrics again and again and keeps what was wrong and the
// most that was seen. Failed scrapes are passed over: the process may be down.
type sampler struct {
	mu       sync.Mutex
	samples  int
	findings []string
	peak     metrics

	stopping context.CancelFunc
	done     chan struct{}
}

// sample starts a sampler; stop ends it.
func (s *server) sample() *sampler {
	ctx, cancel := context.WithCancel(context.Background())
	p := &sampler{peak: metrics{}, stopping: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			if m, err := s.scrape(ctx); err == nil {
				p.add(m)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return p
}

func (p *sampler) add(m metrics) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.samples++
	if bad := m.unbalanced(); bad != "" && len(p.findings) < 10 {
		p.findings = append(p.findings, bad)
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes"} {
		p.peak[name] = max(p.peak[name], m[name])
	}
}

func (p *sampler) stop() {
	p.stopping()
	<-p.done
}
