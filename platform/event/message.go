package event

import (
	"fmt"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Headers of an event: CloudEvents 1.0 in binary mode, W3C trace context and
// the correlation ID. They help readers; nothing in pizzamill needs them, since
// body and topic carry everything.
const (
	HeaderSpecVersion = "ce_specversion"
	HeaderID          = "ce_id"
	HeaderSource      = "ce_source"
	HeaderType        = "ce_type"
	HeaderSubject     = "ce_subject"
	HeaderTime        = "ce_time"
	HeaderContentType = "content-type"
	HeaderTraceParent = "traceparent"
	HeaderCorrelation = "correlation-id"
)

// TimeFormat is how times are written everywhere: UTC, three digits of
// milliseconds, Z.
const TimeFormat = "2006-01-02T15:04:05.000Z"

// FormatTime writes t in TimeFormat.
func FormatTime(t time.Time) string { return t.UTC().Format(TimeFormat) }

// NewMessage returns the message that says "this pizza has reached this step".
// Its UUID is the event ID. source is the module that makes it. trace is the
// traceparent of the event that led to this one, "" if that had none.
//
// Of the headers it has only those that carry something of their own. The rest
// follows from UUID and topic, and AddHeaders makes it where someone reads it:
// on an in-memory bus, which copies the headers at every delivery, nobody does.
func NewMessage(p Pizza, step, source string, at time.Time, trace string) *message.Message {
	id := p.EventID(step)
	m := message.NewMessage(id, p.raw)
	m.Metadata[HeaderSource] = source
	m.Metadata[HeaderTime] = FormatTime(at)
	if isTraceParent(trace) {
		m.Metadata[HeaderTraceParent] = trace[:36] + spanID(id) + trace[52:]
	}
	return m
}

// AddHeaders adds to a message of NewMessage the headers that follow from its
// UUID and topic. A message that came from elsewhere stays as it is.
func AddHeaders(m *message.Message, topic string) {
	_, ours := m.Metadata[HeaderSource]
	if _, complete := m.Metadata[HeaderID]; complete || !ours {
		return
	}
	pizza, _, _ := strings.Cut(m.UUID, "/")
	id, err := ParsePizzaID(pizza)
	if err != nil {
		return
	}
	m.Metadata[HeaderSpecVersion] = "1.0"
	m.Metadata[HeaderID] = m.UUID
	m.Metadata[HeaderType] = topic
	m.Metadata[HeaderSubject] = pizza
	m.Metadata[HeaderContentType] = "application/json"
	m.Metadata[HeaderCorrelation] = id.Order
	if _, ok := m.Metadata[HeaderTraceParent]; !ok {
		// Without tracing the trace ID follows from the pizza, so that there is
		// one along its path, and it is not sampled.
		m.Metadata[HeaderTraceParent] = "00-" + spanID("trace/"+pizza) + spanID(pizza) + "-" + spanID(m.UUID) + "-00"
	}
}

// Time returns when an event happened: its ce_time, or fallback if it has none.
func Time(m *message.Message, fallback time.Time) time.Time {
	if at, err := time.Parse(time.RFC3339Nano, m.Metadata[HeaderTime]); err == nil {
		return at.UTC().Truncate(time.Millisecond)
	}
	return fallback.UTC().Truncate(time.Millisecond)
}

// isTraceParent reports whether s has the form of a W3C traceparent, version 00.
func isTraceParent(s string) bool {
	if len(s) != 55 || !strings.HasPrefix(s, "00-") || s[35] != '-' || s[52] != '-' {
		return false
	}
	return strings.Trim(s[3:35], "0123456789abcdef")+strings.Trim(s[36:52], "0123456789abcdef")+strings.Trim(s[53:], "0123456789abcdef") == ""
}

// spanID is half a trace ID: 16 hexadecimal digits that follow from s, never
// all zero, which would be invalid.
func spanID(s string) string {
	return fmt.Sprintf("%016x", spread(s)|1)
}
