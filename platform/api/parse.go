package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

const (
	maxBody = 64 << 10
	// drainBody is how much of a body that is too large is still read, so that
	// a client that writes before it reads gets to see the answer.
	drainBody = 8 << 20
	maxKey    = 255
)

// readBody returns the body of a request that must be JSON.
func readBody(r *http.Request) ([]byte, error) {
	typeErr := checkContentType(r.Header)
	if typeErr != nil && (len(r.Header["Content-Type"]) > 0 || r.Header.Get("Content-Encoding") != "") {
		return nil, typeErr
	}
	tooLarge := refuse(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", maxBody))
	if r.ContentLength > maxBody && strings.EqualFold(r.Header.Get("Expect"), "100-continue") {
		return nil, tooLarge // the client waits with its body: it need not be sent at all
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	switch {
	case err != nil && r.ContentLength > maxBody:
		return nil, tooLarge // and it did not even come
	case err != nil:
		return nil, badRequest("the body cannot be read to its end")
	case len(body) > maxBody:
		_, _ = io.CopyN(io.Discard, r.Body, drainBody)
		return nil, tooLarge
	case len(body) == 0: // that comes before a type nobody gave
		return nil, badRequest(`the body is empty: want {"count":N}`)
	}
	return body, typeErr
}

// checkContentType wants application/json in UTF-8, in no other coding.
func checkContentType(h http.Header) error {
	wrong := refuse(http.StatusUnsupportedMediaType, "the body must be application/json, in UTF-8 and not compressed")
	if c := h.Get("Content-Encoding"); c != "" && !strings.EqualFold(c, "identity") {
		return wrong
	}
	if len(h["Content-Type"]) != 1 {
		return wrong
	}
	mediaType, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || mediaType != "application/json" {
		return wrong
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return wrong
	}
	return nil // JSON has no parameters: others say nothing
}

// parseCount reads {"count":N} and nothing else. encoding/json into a struct
// would let pass other spellings of the name, duplicate names, 1e2 for 100,
// and whatever follows the object.
func parseCount(body []byte, most int) (int, error) {
	if !json.Valid(body) {
		return 0, badRequest(`the body is not one JSON value, and nothing else: want {"count":N}`)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return 0, badRequest(`the body is no JSON object: want {"count":N}`)
	}
	count := 0
	for dec.More() {
		name, err := dec.Token()
		switch {
		case err != nil:
			return 0, badRequest(`the body cannot be read: want {"count":N}`)
		case name != "count":
			return 0, badRequest("the body has an unknown field: count is the only one")
		case count > 0:
			return 0, badRequest("the body has count twice")
		}
		value, err := dec.Token()
		number, ok := value.(json.Number)
		if err != nil || !ok {
			return 0, badCount(most)
		}
		if count, err = plainCount(number.String(), most); err != nil {
			return 0, err
		}
	}
	if count == 0 {
		return 0, badRequest(`the body has no count: want {"count":N}`)
	}
	return count, nil
}

func badCount(most int) error {
	return badRequest(fmt.Sprintf("count must be an integer from 1 to %d, in plain digits", most))
}

// plainCount reads the count of an order: digits, no sign, no leading zero.
func plainCount(text string, most int) (int, error) {
	n, ok := digits(text)
	if !ok || n < 1 || n > int64(most) {
		return 0, badCount(most)
	}
	return int(n), nil
}

// digits reads a number of plain digits that fits, without a zero before it.
func digits(s string) (int64, bool) {
	if len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// idempotencyKey returns the key of a request, "" if it has none.
func idempotencyKey(h http.Header) (string, error) {
	lines := h.Values("Idempotency-Key")
	if len(lines) == 0 {
		return "", nil
	}
	wrong := badRequest(fmt.Sprintf("Idempotency-Key must be one line of 1 to %d printable ASCII characters", maxKey))
	if len(lines) > 1 || lines[0] == "" || len(lines[0]) > maxKey {
		return "", wrong
	}
	for _, c := range []byte(lines[0]) {
		if c < ' ' || c > '~' {
			return "", wrong
		}
	}
	return lines[0], nil
}

// query is the query of a request: each parameter at most once. Those that
// nobody asks for are ignored.
type query struct {
	values url.Values
	err    error // the first thing that was wrong
}

func parseQuery(r *http.Request) *query {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		err = errors.New("the query is malformed")
	}
	return &query{values: values, err: err}
}

// text returns a parameter, "" if it is missing.
func (q *query) text(name string) string {
	switch lines := q.values[name]; len(lines) {
	case 0:
		return ""
	case 1:
		return lines[0]
	}
	q.wrong(name + " is there more than once")
	return ""
}

// number returns a parameter of plain digits between least and most, missing if it is not there.
func (q *query) number(name string, missing, least, most int64) int64 {
	if !q.values.Has(name) {
		return missing
	}
	n, ok := digits(q.text(name))
	if !ok || n < least || n > most {
		q.wrong(fmt.Sprintf("%s must be an integer from %d to %d", name, least, most))
		return missing
	}
	return n
}

func (q *query) wrong(detail string) {
	if q.err == nil {
		q.err = errors.New(detail)
	}
}

// problem returns what was wrong with the parameters that were read so far.
func (q *query) problem() error {
	if q.err == nil {
		return nil
	}
	return badRequest(q.err.Error())
}
