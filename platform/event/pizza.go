package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Limits of the contract of events.
const (
	// MaxIngredient is the length of the longest ingredient, in bytes.
	MaxIngredient = 200
	// MaxNesting is how deep a body may nest, the object itself included.
	MaxNesting = 100
)

// Pizza is a view of an event's body: a JSON object that carries a pizza along
// the pipeline. It keeps the bytes it was parsed from and edits them in place,
// so that fields nobody here knows pass through untouched. It is immutable and
// safe for concurrent use.
type Pizza struct {
	ID     PizzaID
	Replay int // 0, or the number of the replay this event belongs to

	text   string // the ID as text, which is asked for several times a step
	raw    []byte
	fields []field // top-level members, in the order of the body
}

// ContractError says how a body breaks the contract of events. Such an event
// is poison: no retry can mend it. The reason quotes names of fields, never
// their values.
type ContractError struct{ Reason string }

func (e *ContractError) Error() string { return "event breaks the contract: " + e.Reason }

func broken(format string, args ...any) error {
	return &ContractError{Reason: fmt.Sprintf(format, args...)}
}

// New returns the pizza as it enters the pipeline, without any ingredient.
func New(id PizzaID, replay int) Pizza {
	text := id.String()
	raw := make([]byte, 0, 256)
	raw = append(raw, `{"id":"`...)
	raw = append(raw, text...)
	raw = append(raw, `","order_id":"`...)
	raw = append(raw, id.Order...)
	raw = append(raw, `","number":`...)
	raw = strconv.AppendInt(raw, int64(id.Number), 10)
	if replay > 0 {
		raw = append(raw, `,"replay":`...)
		raw = strconv.AppendInt(raw, int64(replay), 10)
	}
	raw = append(raw, '}')
	return Pizza{ID: id, Replay: replay, text: text, raw: raw, fields: mustScan(raw)}
}

// String returns the pizza's ID as text.
func (p Pizza) String() string { return p.text }

// EventID returns the identity of the event that says "this pizza has reached
// this step".
func (p Pizza) EventID(step string) string { return ID(p.text, step, p.Replay) }

// Parse checks a body against the contract of events and returns it as a
// pizza. want are the stages that must have left their field already
// (Pipeline.Before). The error is a *ContractError. The pizza keeps body,
// which must not change afterwards.
func Parse(body []byte, want []string) (Pizza, error) {
	switch {
	case bytes.HasPrefix(body, []byte("\xef\xbb\xbf")):
		return Pizza{}, broken("the body begins with a byte order mark")
	case !utf8.Valid(body):
		return Pizza{}, broken("the body is not UTF-8")
	}
	fields, err := scan(body)
	if err != nil {
		return Pizza{}, err
	}
	p := Pizza{raw: body, fields: fields}
	if err := p.readID(); err != nil {
		return Pizza{}, err
	}
	for _, name := range want {
		if err := p.checkIngredient(name); err != nil {
			return Pizza{}, err
		}
	}
	return p, nil
}

// readID sets ID and Replay from the body, or says what is wrong with them.
func (p *Pizza) readID() error {
	text, ok := p.Field("id")
	if !ok {
		return broken("field id is missing or no string")
	}
	id, err := ParsePizzaID(text)
	if err != nil {
		return broken("field id is no pizza ID (<order id>-<number>)")
	}
	p.ID, p.text = id, text
	if p.has("order_id") {
		if text, ok := p.Field("order_id"); !ok || text != id.Order {
			return broken("field order_id disagrees with id")
		}
	}
	if p.has("number") {
		if n, ok := p.integer("number"); !ok || n != id.Number {
			return broken("field number disagrees with id")
		}
	}
	if p.has("replay") {
		n, ok := p.integer("replay")
		if !ok || n < 1 {
			return broken("field replay is no positive integer")
		}
		p.Replay = n
	}
	return nil
}

func (p Pizza) checkIngredient(name string) error {
	i := p.index(name)
	if i < 0 {
		return broken("field %s is missing", name)
	}
	if v := p.value(i); isPlain(v) && len(v) > 2 && len(v)-2 <= MaxIngredient {
		return nil
	}
	text, ok := p.Field(name)
	if !ok {
		return broken("field %s is no string", name)
	}
	if err := CheckIngredient(text); err != nil {
		return broken("field %s: %v", name, err)
	}
	return nil
}

// CheckIngredient reports why s cannot be an ingredient, or nil.
func CheckIngredient(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("an ingredient must not be empty")
	case len(s) > MaxIngredient:
		return fmt.Errorf("an ingredient has at most %d bytes, this one %d", MaxIngredient, len(s))
	case !utf8.ValidString(s):
		return fmt.Errorf("an ingredient must be UTF-8")
	}
	return nil
}

// Body returns the JSON. The caller must not change it.
func (p Pizza) Body() []byte { return p.raw }

// Field returns the text of a field, or false if it is missing or no string.
func (p Pizza) Field(name string) (string, bool) {
	i := p.index(name)
	if i < 0 {
		return "", false
	}
	return unquote(p.value(i))
}

// With returns the pizza with a field set, all other bytes of the body as they
// were. A new field goes to the end.
func (p Pizza) With(name, value string) Pizza {
	quoted := quote(value)
	next := p
	if i := p.index(name); i >= 0 {
		f := p.fields[i]
		next.raw = splice(p.raw, f.valStart, f.valEnd, quoted)
	} else {
		member := make([]byte, 0, len(name)+len(quoted)+4)
		if len(p.fields) > 0 {
			member = append(member, ',')
		}
		member = append(append(member, quote(name)...), ':')
		member = append(member, quoted...)
		end := bytes.LastIndexByte(p.raw, '}')
		next.raw = splice(p.raw, end, end, member)
	}
	next.fields = mustScan(next.raw)
	return next
}

// Without returns the pizza less some fields, all other values as they were.
func (p Pizza) Without(names ...string) Pizza {
	out := make([]byte, 0, len(p.raw))
	out = append(out, '{')
	for i, f := range p.fields {
		if f.isOneOf(p.raw, names) {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(out, quote(f.name(p.raw))...), ':')
		out = append(out, p.value(i)...)
	}
	out = append(out, '}')
	next := p
	next.raw, next.fields = out, mustScan(out)
	return next
}

func (p Pizza) index(name string) int {
	for i := range p.fields {
		if p.fields[i].is(p.raw, name) {
			return i
		}
	}
	return -1
}

func (p Pizza) has(name string) bool { return p.index(name) >= 0 }
func (p Pizza) value(i int) []byte   { return p.raw[p.fields[i].valStart:p.fields[i].valEnd] }

// integer returns a field that is written as a plain integer of at most nine digits.
func (p Pizza) integer(name string) (int, bool) {
	v := p.value(p.index(name))
	if len(v) == 0 || len(v) > 9 || v[0] < '0' || v[0] > '9' {
		return 0, false
	}
	n, err := strconv.Atoi(string(v))
	return n, err == nil
}

func splice(raw []byte, from, to int, with []byte) []byte {
	out := make([]byte, 0, len(raw)-(to-from)+len(with))
	out = append(out, raw[:from]...)
	out = append(out, with...)
	return append(out, raw[to:]...)
}

// quote returns s as a JSON string. Plain text, which ingredients nearly always
// are, does not go through the encoder.
func quote(s string) []byte {
	plain := true
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			plain = false
			break
		}
	}
	if plain {
		out := make([]byte, 0, len(s)+2)
		out = append(out, '"')
		out = append(out, s...)
		return append(out, '"')
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // the body is no HTML, and other languages write & as it is
	_ = enc.Encode(s)        // a string always encodes
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

// unquote returns the text of a JSON string, or false if v is none.
func unquote(v []byte) (string, bool) {
	if len(v) < 2 || v[0] != '"' {
		return "", false
	}
	if isPlain(v) {
		return string(v[1 : len(v)-1]), true
	}
	var s string
	err := json.Unmarshal(v, &s)
	return s, err == nil
}

// isPlain reports whether v is a JSON string whose text is what stands between
// the quotes.
func isPlain(v []byte) bool {
	return len(v) >= 2 && v[0] == '"' && bytes.IndexByte(v, '\\') < 0
}
