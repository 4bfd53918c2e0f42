package api

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// message is a server-sent event.
type message struct {
	id          int
	event, data string
	comment     bool
}

// reader reads an event stream.
type reader struct {
	t    *testing.T
	conn net.Conn
	body *bufio.Reader
	*http.Response
}

// open begins a stream. headers are whole lines.
func (l *line) open(path string, headers ...string) *reader {
	l.t.Helper()
	conn, err := net.Dial("tcp", l.addr)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		l.t.Fatal(err)
	}
	head := append([]string{"GET " + path + " HTTP/1.1", "Host: pizza"}, headers...)
	if _, err := io.WriteString(conn, strings.Join(head, "\r\n")+"\r\n\r\n"); err != nil {
		l.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		l.t.Fatal(err)
	}
	return &reader{l.t, conn, bufio.NewReader(res.Body), res}
}

// next returns the next event or comment, or io.EOF at the clean end.
func (r *reader) next() (m message, err error) {
	for {
		text, err := r.body.ReadString('\n')
		if err != nil {
			return m, err
		}
		switch name, value, _ := strings.Cut(strings.TrimSuffix(text, "\n"), ": "); {
		case text == "\n":
			return m, nil
		case text[0] == ':':
			m.comment = true
		case name == "id":
			if m.id, err = strconv.Atoi(value); err != nil {
				return m, err
			}
		case name == "event":
			m.event = value
		case name == "data":
			m.data = value
		default:
			return m, fmt.Errorf("unknown line %q", text)
		}
	}
}

// must returns the next event, comments left out.
func (r *reader) must() message {
	r.t.Helper()
	for {
		m, err := r.next()
		if err != nil {
			r.t.Fatal(err)
		}
		if !m.comment {
			return m
		}
	}
}

// rest returns all events until the stream ends.
func (r *reader) rest() []message {
	r.t.Helper()
	var all []message
	for {
		m, err := r.next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			r.t.Fatal(err)
		}
		if !m.comment {
			all = append(all, m)
		}
	}
}

// numbered leaves out the events without a number.
func numbered(all []message) (events []message) {
	for _, m := range all {
		if m.id > 0 {
			events = append(events, m)
		}
	}
	return events
}

func names(all []message) string {
	var s []string
	for _, m := range all {
		s = append(s, m.event)
	}
	return strings.Join(s, " ")
}

// checkNumbers wants the events after a number, without a gap or a repeat.
func checkNumbers(t *testing.T, events []message, after, last int) {
	t.Helper()
	for i, m := range events {
		if m.id != after+i+1 {
			t.Fatalf("event %d has number %d, want %d", i, m.id, after+i+1)
		}
	}
	if got := after + len(events); got != last {
		t.Fatalf("%d events after %d: the last is %d, want %d", len(events), after, got, last)
	}
}

func events(order string) string { return "/api/orders/" + order + "/events" }
