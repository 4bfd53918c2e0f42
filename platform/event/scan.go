package event

import (
	"bytes"
	"encoding/json"
)

// field is one top-level member of the body, by the offsets of its parts, so
// that looking at a body allocates nothing per field.
type field struct {
	nameStart, nameEnd int    // inside the quotes
	escaped            string // the name, if it is written with escapes
	valStart, valEnd   int
}

// is reports whether the field has a name. An escaped name is never empty.
func (f field) is(body []byte, name string) bool {
	if f.escaped != "" {
		return f.escaped == name
	}
	return string(body[f.nameStart:f.nameEnd]) == name
}

func (f field) isOneOf(body []byte, names []string) bool {
	for _, name := range names {
		if f.is(body, name) {
			return true
		}
	}
	return false
}

func (f field) name(body []byte) string {
	if f.escaped != "" {
		return f.escaped
	}
	return string(body[f.nameStart:f.nameEnd])
}

// scan checks that body is one JSON object that nests no deeper than the
// contract allows and repeats no name at the top, and returns its members.
func scan(body []byte) ([]field, error) {
	if !json.Valid(body) {
		return nil, broken("the body is not JSON")
	}
	return members(body)
}

// mustScan is scan for a body that was made from one that scanned.
func mustScan(body []byte) []field {
	fields, err := members(body)
	if err != nil {
		panic("event: edited body does not scan: " + err.Error())
	}
	return fields
}

// members walks the top level of valid JSON. Validity is what keeps it short:
// outside strings every bracket and comma means what it says.
func members(body []byte) ([]field, error) {
	i := skipSpace(body, 0)
	if body[i] != '{' {
		return nil, broken("the body is no JSON object")
	}
	fields := make([]field, 0, 8)
	i = skipSpace(body, i+1)
	for body[i] != '}' {
		nameEnd := skipString(body, i)
		f := field{nameStart: i + 1, nameEnd: nameEnd - 1}
		if bytes.IndexByte(body[i:nameEnd], '\\') >= 0 {
			f.escaped, _ = unquote(body[i:nameEnd])
		}
		i = skipSpace(body, nameEnd) // at the colon
		f.valStart = skipSpace(body, i+1)
		end, err := skipValue(body, f.valStart)
		if err != nil {
			return nil, err
		}
		f.valEnd = end
		fields = append(fields, f)
		if i = skipSpace(body, end); body[i] == ',' {
			i = skipSpace(body, i+1)
		}
	}
	if isRepeated(body, fields) {
		return nil, broken("a field is there twice") // its name is part of the body, which no log may show
	}
	return fields, nil
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// skipString returns the offset behind the string that begins at i.
func skipString(b []byte, i int) int {
	for i++; ; {
		j := i + bytes.IndexByte(b[i:], '"')
		// The quote ends the string unless an odd run of backslashes stands before it.
		n := 0
		for j-1-n >= i && b[j-1-n] == '\\' {
			n++
		}
		if n%2 == 0 {
			return j + 1
		}
		i = j + 1
	}
}

// skipValue returns the offset behind the value that begins at i.
func skipValue(b []byte, i int) (int, error) {
	depth := 1 // the body itself
	for {
		switch b[i] {
		case '"':
			i = skipString(b, i)
		case '{', '[':
			if depth++; depth > MaxNesting {
				return 0, broken("the body nests deeper than %d", MaxNesting)
			}
			i++
			continue
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\t', '\n', '\r':
			i++
			continue
		default: // number, true, false, null
			for i < len(b) && !isEnd(b[i]) {
				i++
			}
		}
		if depth == 1 {
			return i, nil
		}
	}
}

func isEnd(c byte) bool {
	return c == ',' || c == '}' || c == ']' || c == ' ' || c == '\t' || c == '\n' || c == '\r'
}

// isRepeated reports whether two fields share a name. A body of ours has a
// handful of fields; a foreign one may have thousands.
func isRepeated(body []byte, fields []field) bool {
	if len(fields) <= 16 {
		for i := range fields {
			for j := range i {
				if sameName(body, fields[i], fields[j]) {
					return true
				}
			}
		}
		return false
	}
	seen := make(map[string]struct{}, len(fields))
	for _, f := range fields {
		name := f.name(body)
		if _, ok := seen[name]; ok {
			return true
		}
		seen[name] = struct{}{}
	}
	return false
}

func sameName(body []byte, a, b field) bool {
	if a.escaped != "" || b.escaped != "" {
		return a.name(body) == b.name(body)
	}
	return bytes.Equal(body[a.nameStart:a.nameEnd], body[b.nameStart:b.nameEnd])
}
