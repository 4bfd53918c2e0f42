package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/pizzamill/pizzamill/platform/bus"
	"github.com/pizzamill/pizzamill/platform/store"
	"github.com/pizzamill/pizzamill/platform/version"
)

// listLetters lists the dead ones, unless another status is asked for; an
// empty status asks for all.
func (s *server) listLetters(w http.ResponseWriter, r *http.Request) error {
	q := parseQuery(r)
	limit := int(q.number("limit", 50, 1, maxPage))
	after := q.text("after")
	if q.values.Has("after") && !isLetterID(after) {
		q.wrong("after must be the ID of a dead letter")
	}
	filter := store.LetterFilter{
		Module: q.text("module"), Topic: q.text("topic"), Order: q.text("order"), Status: q.text("status"),
	}
	switch filter.Status {
	case "":
		if !q.values.Has("status") {
			filter.Status = store.LetterDead
		}
	case store.LetterDead, store.LetterRequeued, store.LetterDiscarded:
	default:
		q.wrong("status must be dead, requeued or discarded, or empty for all")
	}
	if err := q.problem(); err != nil {
		return err
	}
	letters, err := s.Ledger.DeadLetters(r.Context(), filter, limit+1, after)
	if err != nil {
		return err
	}
	next := ""
	if len(letters) > limit {
		letters = letters[:limit]
		next = letters[limit-1].ID
	}
	b := appendList([]byte{'{'}, "dead_letters", letters, appendLetter)
	b = appendTextOrNull(b, "next_after", next)
	writeJSON(w, http.StatusOK, append(b, '}'))
	return nil
}

// isLetterID reports whether s can be the ID of a dead letter: base64, URL-safe.
func isLetterID(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return len(s) == len(store.LetterID(""))
}

func (s *server) getLetter(w http.ResponseWriter, r *http.Request) error {
	letter, err := s.Ledger.DeadLetter(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	b := appendLetterOpen(nil, letter)
	b = appendText(b, "key", letter.Key)
	b = append(appendName(b, "headers"), '{')
	for _, name := range slices.Sorted(maps.Keys(letter.Headers)) {
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = append(appendString(b, name), ':')
		b = appendString(b, letter.Headers[name])
	}
	b = append(b, '}')
	if utf8.Valid(letter.Body) {
		b = appendText(b, "body", string(letter.Body))
	} else {
		b = appendText(b, "body_base64", base64.StdEncoding.EncodeToString(letter.Body))
	}
	writeJSON(w, http.StatusOK, append(b, '}'))
	return nil
}

func (s *server) getLag(w http.ResponseWriter, r *http.Request) error {
	lags, err := s.Bus.Lag(r.Context())
	if err != nil {
		s.Log.Warn("the bus cannot be asked for the lag of its groups", "error", err)
		return refuse(http.StatusServiceUnavailable, "the bus cannot be asked for the lag of its groups now; try again")
	}
	b := appendList([]byte{'{'}, "groups", lags, func(b []byte, l bus.Lag) []byte {
		b = appendText(append(b, '{'), "module", l.Group)
		b = appendText(b, "topic", l.Topic)
		return append(appendNumber(b, "lag", l.Messages), '}')
	})
	writeJSON(w, http.StatusOK, append(b, '}'))
	return nil
}

// topologyTimeout bounds how long the bus is asked who consumes.
const topologyTimeout = 2 * time.Second

// getTopology answers with what the whole line runs, in whatever process, and
// with what this one does where the bus cannot be asked.
func (s *server) getTopology(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), topologyTimeout)
	defer cancel()
	t := s.Topology
	if groups, err := s.Bus.Groups(ctx); err != nil {
		s.Log.Warn("the bus cannot be asked who consumes: telling what runs in this process", "error", err)
	} else {
		t = t.Live(groups)
	}
	b, err := json.Marshal(t)
	if err != nil {
		panic("api: marshal topology: " + err.Error())
	}
	writeJSON(w, http.StatusOK, b)
	return nil
}

// index lists the calls of the listener, for whoever finds no page there.
func index(calls []string) http.Handler {
	b := appendText([]byte{'{'}, "name", "pizzamill")
	b = appendText(b, "version", version.String())
	b = append(appendList(b, "calls", calls, appendString), '}')
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		writeJSON(w, http.StatusOK, slices.Clone(b))
	})
}
