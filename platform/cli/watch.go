package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// streamIdle is how long a stream may be silent before it counts as lost;
	// the server sends a comment every 15 s.
	streamIdle = 45 * time.Second
	// streamPatience is how long a server may be away before a watch gives up.
	streamPatience = 60 * time.Second
	// maxEventLine bounds one line of a stream, in bytes.
	maxEventLine = 1 << 20
)

// watch follows an order, which can be seen at address, to its end and prints
// what came of it.
func (p *program) watch(ctx context.Context, c *client, placed order, address string, asJSON bool) error {
	m := newMeter(p.err, p.width, placed)
	last, err := c.follow(ctx, placed, m.show, m.note)
	m.done()
	if asJSON {
		if err := writeJSON(p.out, last.raw); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return &exitError{code: exitInterrupted, err: fmt.Errorf("interrupted: the order goes on, see %s", address)}
	}
	if err != nil {
		return fmt.Errorf("watch order %s: %w", placed.ID, err)
	}
	if !asJSON {
		if _, err := fmt.Fprintln(p.out, summary(last)); err != nil {
			return err
		}
	}
	if last.Status == "partial" {
		return &exitError{code: exitPartial}
	}
	return nil
}

// summary says in a line how an order ended.
func summary(o order) string {
	if o.Status == "partial" {
		return fmt.Sprintf("partial: %d of %d pizzas complete, %d dead-lettered", o.Completed, o.Count, o.DeadLettered)
	}
	if o.CompletedAt == nil {
		return fmt.Sprintf("complete: %s", pizzas(o.Count))
	}
	took := o.CompletedAt.Sub(o.CreatedAt)
	return fmt.Sprintf("complete: %s in %s, %s", pizzas(o.Count), took.Round(time.Millisecond), rate(o.Count, took))
}

func pizzas(n int) string {
	if n == 1 {
		return "1 pizza"
	}
	return fmt.Sprintf("%d pizzas", n)
}

// follow calls show with every state of the order that the stream tells, until
// one is its end, and returns the last one that it saw. A lost stream is taken
// up again: each begins with a fresh state, so there is nothing to miss.
func (c *client) follow(ctx context.Context, o order, show func(order), note func(string)) (order, error) {
	const firstWait = 250 * time.Millisecond
	heard, wait := time.Now(), firstWait
	for !o.ended() {
		err := c.stream(ctx, o.ID, func(next order) bool {
			o, heard, wait = next, time.Now(), firstWait
			show(o)
			return !o.ended()
		})
		if o.ended() || ctx.Err() != nil {
			return o, ctx.Err()
		}
		if _, again := retryAfter(err, 0); !again || time.Since(heard) > streamPatience {
			return o, err
		}
		if wait == firstWait { // once for each time that it is lost
			note(fmt.Sprintf("%v: connecting again", err))
		}
		if err := pause(ctx, wait); err != nil {
			return o, err
		}
		wait = min(2*wait, 5*time.Second)
	}
	return o, nil
}

// stream reads one event stream of an order and calls each with every state,
// until each returns false or the stream is lost.
func (c *client) stream(ctx context.Context, id string, each func(order) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := time.AfterFunc(streamIdle, func() { cancel(fmt.Errorf("nothing came for %s", streamIdle)) })
	defer idle.Stop()
	res, err := c.send(ctx, http.MethodGet, c.url("api", "orders", id, "events")+"?detail=summary",
		http.Header{"Accept": {"text/event-stream"}}, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	err = readEvents(res.Body, func() { idle.Reset(streamIdle) }, func(name string, data []byte) (bool, error) {
		if name != "order" { // "end" comes behind the order that is complete
			return true, nil
		}
		o, err := parseOrder(data)
		return err == nil && each(o), err
	})
	var lost *lostError
	if errors.As(err, &lost) {
		if ctx.Err() != nil {
			lost.err = context.Cause(ctx)
		}
		return &exitError{code: exitUnreachable, err: lost}
	}
	return err
}

// lostError is the end of a stream that should have gone on.
type lostError struct{ err error }

func (e *lostError) Error() string { return "the event stream was lost: " + e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// readEvents reads server-sent events: alive is called for each line, comments
// included, and each with the name and data of every event until it returns
// false. A *lostError means that the stream ended first.
func readEvents(r io.Reader, alive func(), each func(name string, data []byte) (bool, error)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEventLine)
	name, data := "message", []byte(nil)
	for lines.Scan() {
		alive()
		line := bytes.TrimSuffix(lines.Bytes(), []byte("\r"))
		if len(line) == 0 {
			if data != nil {
				if more, err := each(name, bytes.TrimSuffix(data, []byte("\n"))); err != nil || !more {
					return err
				}
			}
			name, data = "message", nil
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			name = string(value)
		case "data":
			data = append(append(data, value...), '\n')
		}
	}
	if err := lines.Err(); err != nil {
		return &lostError{err}
	}
	return &lostError{errors.New("the server closed it")}
}
