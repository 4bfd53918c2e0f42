package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestParseCount(t *testing.T) {
	for body, want := range map[string]int{
		`{"count":1}`:                     1,
		`{"count":3}`:                     3,
		" {\n\t\"count\" : 100000 }\r\n ": 100000,
		`{"\u0063ount":3}`:                3,
		`{"count":100001}`:                0,
		`{"count":0}`:                     0,
		`{"count":-0}`:                    0,
		`{"count":-1}`:                    0,
		`{"count":+1}`:                    0,
		`{"count":1.5}`:                   0,
		`{"count":3.0}`:                   0,
		`{"count":1e2}`:                   0,
		`{"count":1E2}`:                   0,
		`{"count":1e9}`:                   0,
		`{"count":03}`:                    0,
		`{"count":0x3}`:                   0,
		`{"count":99999999999999999999}`:  0,
		`{"count":18446744073709551619}`:  0,
		`{"count":"3"}`:                   0,
		`{"count":"x"}`:                   0,
		`{"count":null}`:                  0,
		`{"count":true}`:                  0,
		`{"count":[3]}`:                   0,
		`{"count":{"count":3}}`:           0,
		`{"count":}`:                      0,
		`{"count":3,}`:                    0,
		`{"count":3 4}`:                   0,
		`{"count" 3}`:                     0,
		`{}`:                              0,
		`{"Count":3}`:                     0,
		`{"COUNT":3}`:                     0,
		`{"count ":3}`:                    0,
		`{"":3}`:                          0,
		`{"count":3,"size":1}`:            0,
		`{"size":1,"count":3}`:            0,
		`{"count":3,"count":3}`:           0,
		`{"count":3,"\u0063ount":3}`:      0,
		`{"count":3,"Count":3}`:           0,
		`{"count":3}{"count":3}`:          0,
		`{"count":3} {"count":3}`:         0,
		`{"count":3} x`:                   0,
		"{\"count\":3}\x00":               0,
		`{"count":3}]`:                    0,
		`[{"count":3}]`:                   0,
		`3`:                               0,
		`"count"`:                         0,
		`null`:                            0,
		`count=3`:                         0,
		` `:                               0,
		"\xef\xbb\xbf{\"count\":3}":       0,
		"{\"count\":3,\"\xff\":1}":        0,
		"{\"c\xc3\":3}":                   0,
		"\xff\xfe{\x00}\x00":              0,
		`{"count":3,"x":"\ud800"}`:        0,
		`{'count':3}`:                     0,
		`{count:3}`:                       0,
		`{"count":3 /* for me */}`:        0,
		`{"count":NaN}`:                   0,
		strings.Repeat("[", 60000):        0,
		strings.Repeat(`{"count":`, 7000): 0,
		`{"count":` + strings.Repeat("1", 60000) + `}`:  0,
		`{"count":` + strings.Repeat("0", 60000) + `3}`: 0,
	} {
		got, err := parseCount([]byte(body), 100000)
		if (err == nil) != (want > 0) || err == nil && got != want {
			t.Errorf("%.60q: %d, %v; want %d", body, got, err, want)
		}
	}
}

func TestPlainCount(t *testing.T) {
	for text, want := range map[string]bool{
		"1": true, "100": true, "0": false, "101": false, "": false, "-1": false, "+1": false, "01": false,
		"1.0": false, "1e1": false, "x": false, " 1": false, "1 ": false, "１": false, "٣": false, "0x1": false,
		"9223372036854775808": false, "1_0": false,
	} {
		if _, err := plainCount(text, 100); (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestContentType(t *testing.T) {
	for _, tc := range []struct {
		types []string
		want  bool
	}{
		{[]string{"application/json"}, true},
		{[]string{"Application/JSON"}, true},
		{[]string{"application/json; charset=utf-8"}, true},
		{[]string{`application/json;charset="UTF-8"`}, true},
		{[]string{"application/json; charset=latin1"}, false},
		{[]string{"application/json; charset=utf-8; v=1"}, true},
		{[]string{`application/json; profile="https://example.com"`}, true},
		{[]string{"application/json; v=1; charset=latin1"}, false},
		{[]string{"application/json; profile=x"}, true},
		{[]string{"application/json; charset"}, false},
		{[]string{"application/json, text/plain"}, false},
		{[]string{"application/problem+json"}, false},
		{[]string{"text/json"}, false},
		{[]string{"text/plain"}, false},
		{[]string{"application/x-www-form-urlencoded"}, false},
		{[]string{"multipart/form-data; boundary=x"}, false},
		{[]string{""}, false},
		{nil, false},
		{[]string{"application/json", "application/json"}, false},
	} {
		h := http.Header{}
		for _, typ := range tc.types {
			h.Add("Content-Type", typ)
		}
		if got := checkContentType(h) == nil; got != tc.want {
			t.Errorf("%q: %t, want %t", tc.types, got, tc.want)
		}
	}
	for coding, want := range map[string]bool{"identity": true, "gzip": false, "br": false} {
		h := http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {coding}}
		if got := checkContentType(h) == nil; got != want {
			t.Errorf("Content-Encoding %s: %t", coding, got)
		}
	}
}

func TestIdempotencyKey(t *testing.T) {
	for _, tc := range []struct {
		lines []string
		want  bool
	}{
		{nil, true}, {[]string{"k"}, true}, {[]string{"a key, with ~ signs"}, true}, {[]string{strings.Repeat("k", 255)}, true},
		{[]string{""}, false}, {[]string{strings.Repeat("k", 256)}, false}, {[]string{"a", "a"}, false},
		{[]string{"tab\there"}, false}, {[]string{"ключ"}, false}, {[]string{"del\x7f"}, false}, {[]string{"\xff"}, false},
	} {
		h := http.Header{}
		for _, l := range tc.lines {
			h.Add("Idempotency-Key", l)
		}
		if _, err := idempotencyKey(h); (err == nil) != tc.want {
			t.Errorf("%.40q: %v", tc.lines, err)
		}
	}
}

func TestQueryNumbers(t *testing.T) {
	for text, want := range map[string]int64{
		"": 20, "x=1": 20, "limit=1": 1, "limit=1000": 1000, "x=%31&limit=%31": 1,
		"limit=0": -1, "limit=1001": -1, "limit=": -1, "limit": -1, "limit=-1": -1, "limit=+1": -1, "limit=1.0": -1,
		"limit=1e2": -1, "limit=x": -1, "limit=1&limit=1": -1, "limit=1&limit=2": -1, "limit=%zz": -1,
		"limit=1;x": -1, "limit=99999999999999999999": -1, "limit=%201": -1,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.RawQuery = text
		q := parseQuery(r)
		got := q.number("limit", 20, 1, 1000)
		if err := q.problem(); (err == nil) != (want > 0) || err == nil && got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
}
