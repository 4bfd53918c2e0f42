package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// probeTimeout is less than the second after which orchestrators give up by default.
const probeTimeout = 900 * time.Millisecond

func live(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, []byte(`{"status":"ok"}`))
	return nil
}

// need is something that must be there for a process to be ready.
type need struct {
	name  string
	check func(context.Context) error
}

// mainReady says whether orders can be taken: that takes the store and nothing
// else. Anybody may ask here, so that the cause is told on the admin listener only.
func (s *server) mainReady(w http.ResponseWriter, r *http.Request) error {
	if err := s.Taking(); err != nil {
		return refuse(http.StatusServiceUnavailable, "no orders are taken: "+err.Error())
	}
	if len(missing(r.Context(), need{"the store", s.Ledger.Check})) > 0 {
		return refuse(http.StatusServiceUnavailable, "waiting for the store")
	}
	return live(w, r)
}

// adminReady says whether everything that this process needs is there.
func (s *server) adminReady(w http.ResponseWriter, r *http.Request) error {
	if err := s.Ready(); err != nil {
		return refuse(http.StatusServiceUnavailable, err.Error())
	}
	needs := []need{{"the bus", s.Bus.Check}}
	if s.Ledger != nil {
		needs = append(needs, need{"the store", s.Ledger.Check})
	}
	if s.Records != nil {
		needs = append(needs, need{"the table of processed events", s.Records.Check})
	}
	if waiting := missing(r.Context(), needs...); len(waiting) > 0 {
		return refuse(http.StatusServiceUnavailable, "waiting for "+strings.Join(waiting, " and for "))
	}
	return live(w, r)
}

// missing returns what is not there, each with the cause. All are asked at once,
// so that what hangs takes no time from the others.
func missing(ctx context.Context, needs ...need) []string {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	waiting := make([]string, len(needs))
	var asked sync.WaitGroup
	for i, n := range needs {
		asked.Go(func() {
			if err := n.check(ctx); err != nil {
				waiting[i] = n.name + " (" + err.Error() + ")"
			}
		})
	}
	asked.Wait()
	return slices.DeleteFunc(waiting, func(s string) bool { return s == "" })
}
