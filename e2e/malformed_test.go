package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

const jsonType = "Content-Type: application/json"

// order11 is a request to place an order, with a body that may be anything.
func order11(body string, headers ...string) string {
	return request11("POST", "/api/orders", "localhost", append([]string{jsonType}, headers...), body)
}

// badCounts are no count from 1 to the maximum in plain digits.
var badCounts = []string{
	"0", "-1", "-0", "1.5", "3.0", "1e2", "1E2", "1e9", "100001", "99999999999999999999", "9223372036854775808",
	`"x"`, `"3"`, `""`, "null", "true", "[3]", "{}", "03", "+3", "0x3", "3_0", "NaN", "١",
}

// badBodies are no order at all.
var badBodies = map[string]string{
	"empty":                    "",
	"blank":                    " \r\n\t",
	"no object":                "3",
	"array":                    `[{"count":3}]`,
	"null":                     "null",
	"string":                   `"count"`,
	"count is missing":         "{}",
	"unknown field":            `{"count":3,"size":"large"}`,
	"field in capitals":        `{"Count":3}`,
	"count twice":              `{"count":3,"count":3}`,
	"count twice, one escaped": `{"count":3,"c\u006funt":4}`,
	"second value":             `{"count":3}{"count":3}`,
	"second value, spaced":     `{"count":3} 4`,
	"garbage behind":           `{"count":3}x`,
	"comma behind":             `{"count":3,}`,
	"no quotes":                `{count:3}`,
	"single quotes":            `{'count':3}`,
	"cut off":                  `{"count":3`,
	"cut in a number":          `{"count":`,
	"comment":                  `{"count":3/* three */}`,
	"byte order mark":          "\xef\xbb\xbf" + `{"count":3}`,
	"UTF-16":                   "\xff\xfe{\x00}\x00",
	"invalid UTF-8":            "{\"count\":3,\"\xff\":1}",
	"NUL behind":               "{\"count\":3}\x00",
	"form":                     "count=3",
	"deep":                     strings.Repeat("[", 10000),
	"deep in count":            `{"count":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + "}",
}

// TestMalformedOrders sends every kind of order that is none. Each is refused
// with a problem document, and none leaves a trace.
func TestMalformedOrders(t *testing.T) {
	s := start(t)
	s.mustComplete(s.mustOrder(1), refusalLimit)
	before := s.trace()
	for _, count := range badCounts {
		t.Run("count "+count, func(t *testing.T) {
			wantProblem(t, send(t, s.main, order11(`{"count":`+count+`}`)), http.StatusBadRequest)
		})
	}
	for name, body := range badBodies {
		t.Run(name, func(t *testing.T) {
			wantProblem(t, send(t, s.main, order11(body)), http.StatusBadRequest)
		})
	}
	for name, r := range otherRefusals() {
		t.Run(name, func(t *testing.T) {
			wantProblem(t, send(t, s.main, r.request), r.status)
		})
	}
	for _, count := range []string{"0", "-1", "1.5", "3.0", "1e2", "x", "03", "+3", "100001", "99999999999999999999", "3x", "%20"} {
		t.Run("classic "+count, func(t *testing.T) {
			wantProblem(t, send(t, s.main, request11("POST", "/order/"+count, "localhost", nil, "")), http.StatusBadRequest)
		})
	}
	if after := s.trace(); after != before {
		t.Errorf("refused requests left a trace: before %+v, after %+v", before, after)
	}
}

type refusal struct {
	request string
	status  int
}

// otherRefusals are orders that are refused for their type, size or key.
func otherRefusals() map[string]refusal {
	const good = `{"count":3}`
	refused := map[string]refusal{
		"no content type": {request11("POST", "/api/orders", "localhost", nil, good), http.StatusUnsupportedMediaType},
		"too large":       {order11(`{"count":3}` + strings.Repeat(" ", 64<<10)), http.StatusRequestEntityTooLarge},
		"too large by one byte": {
			order11(good + strings.Repeat(" ", 64<<10-len(good)+1)), http.StatusRequestEntityTooLarge,
		},
		"too large and malformed": {order11(strings.Repeat("x", 70<<10)), http.StatusRequestEntityTooLarge},
		"too large in chunks": {
			"POST /api/orders HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + jsonType +
				"\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(strings.Repeat(" ", 70<<10)+good), http.StatusRequestEntityTooLarge,
		},
		"empty key":         {order11(good, "Idempotency-Key: "), http.StatusBadRequest},
		"key of 256":        {order11(good, "Idempotency-Key: "+strings.Repeat("k", 256)), http.StatusBadRequest},
		"key beyond ASCII":  {order11(good, "Idempotency-Key: käse"), http.StatusBadRequest},
		"key with a tab":    {order11(good, "Idempotency-Key: a\tb"), http.StatusBadRequest},
		"two keys":          {order11(good, "Idempotency-Key: a", "Idempotency-Key: b"), http.StatusBadRequest},
		"two keys the same": {order11(good, "Idempotency-Key: a", "Idempotency-Key: a"), http.StatusBadRequest},
	}
	for _, ct := range []string{
		"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml",
		"application/jsonx", "text/json", "json", "application/problem+json", "*/*", "application/",
	} {
		refused["content type "+ct] = refusal{
			request11("POST", "/api/orders", "localhost", []string{"Content-Type: " + ct}, good), http.StatusUnsupportedMediaType,
		}
	}
	return refused
}

// chunks writes a body in chunks of 4 KiB.
func chunks(body string) string {
	var b strings.Builder
	for body != "" {
		n := min(len(body), 4<<10)
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return b.String() + "0\r\n\r\n"
}

// TestWellFormedOrders shows that the refusals are not for everyone.
func TestWellFormedOrders(t *testing.T) {
	s := start(t)
	for name, request := range map[string]string{
		"plain":               order11(`{"count":3}`),
		"spaced":              order11(" \r\n\t{ \"count\" : 3 }\n"),
		"exactly 64 KiB":      order11(`{"count":3}` + strings.Repeat(" ", 64<<10-len(`{"count":3}`))),
		"charset":             request11("POST", "/api/orders", "localhost", []string{"Content-Type: application/json; charset=utf-8"}, `{"count":3}`),
		"type in capitals":    request11("POST", "/api/orders", "localhost", []string{"Content-Type: Application/JSON"}, `{"count":3}`),
		"chunked":             "POST /api/orders HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + jsonType + "\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(`{"count":3}`),
		"key of 1":            order11(`{"count":3}`, "Idempotency-Key: k"),
		"key of 255":          order11(`{"count":3}`, "Idempotency-Key: "+strings.Repeat("k", 255)),
		"key of all printing": order11(`{"count":3}`, "Idempotency-Key: "+printable()),
	} {
		t.Run(name, func(t *testing.T) {
			r := send(t, s.main, request)
			if r.status != http.StatusAccepted || !strings.HasPrefix(r.header.Get("Location"), "/api/orders/") {
				t.Errorf("status %d, Location %q: %.300s", r.status, r.header.Get("Location"), r.body)
			}
		})
	}
}

// printable is all of printable ASCII, with the space inside.
func printable() string {
	var b strings.Builder
	for c := byte('!'); c <= '~'; c++ {
		b.WriteByte(c)
		if c == 'M' {
			b.WriteByte(' ')
		}
	}
	return b.String()
}
