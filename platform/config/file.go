package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2/unstable"
)

// file walks the expressions of a TOML file. The ordinary decoder stops at the
// first wrong type; this one goes on, behind errors of syntax too.
type file struct {
	*loader
	name   string
	data   []byte
	parser unstable.Parser
	base   int // offset in data of what the parser reads

	section string         // the current one
	skip    bool           // it is unknown, so its keys are not looked at
	seen    map[string]int // "section" and "section.key" → line
}

func newFile(l *loader, name string, data []byte) *file {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // editors on Windows put it there
	return &file{loader: l, name: name, data: data, seen: make(map[string]int)}
}

// read reads the file from top to bottom.
func (f *file) read() {
	end := 0 // offset behind the last whole expression
	for f.base < len(f.data) {
		f.parser.Reset(f.data[f.base:])
		for f.parser.NextExpression() {
			end = f.expression(f.parser.Expression())
		}
		if f.parser.Error() == nil {
			return
		}
		f.base = f.syntaxError(end)
		end = f.base
	}
}

// nextExpression matches a line with which a new expression surely begins.
var nextExpression = regexp.MustCompile(`(?m)^[ \t]*(\[[^\]\n]+\]|[A-Za-z0-9_.-]+[ \t]*=)`)

// bareValue matches an assignment of something without quotes or brackets.
var bareValue = regexp.MustCompile(`^[^=]*=[ \t]*[^ \t"'\[{]`)

// syntaxError reports where the parser stopped and returns the offset at which
// it makes sense again. end is the offset behind the last whole expression.
func (f *file) syntaxError(end int) int {
	start := f.skipBlank(end)
	at, message := start, f.parser.Error().Error()
	var perr *unstable.ParserError
	if errors.As(f.parser.Error(), &perr) && len(perr.Highlight) > 0 {
		at = f.base + int(f.parser.Range(perr.Highlight).Offset)
	}
	lineEnd := start + lineLength(f.data[start:])
	if at == len(f.data)-1 && at > lineEnd { // something is never closed: say where it was opened
		at = start
	}
	broken := string(f.data[start:max(at+1, lineEnd)])
	switch {
	case slices.ContainsFunc(secretNames(), func(n string) bool { return strings.Contains(broken, n) }):
		message = "the value is malformed (it is not shown)" // a message may quote a character
	case bareValue.MatchString(broken):
		message += " (strings stand in quotes)"
	}
	f.report(f.place(at), "%s", message)
	if strings.HasPrefix(strings.TrimSpace(broken), "[") {
		f.skip = true
	}
	if next := nextExpression.FindIndex(f.data[lineEnd:]); next != nil {
		return lineEnd + next[0]
	}
	return len(f.data)
}

// skipBlank returns the offset of the first line from end on that has more
// than blanks and a comment. The rest of the line that end is in counts as such.
func (f *file) skipBlank(end int) int {
	at := end
	for at < len(f.data) {
		n := lineLength(f.data[at:])
		line := bytes.TrimSpace(f.data[at : at+n])
		if len(line) > 0 && line[0] != '#' {
			return at
		}
		if at+n >= len(f.data) {
			break
		}
		at += n + 1
	}
	return end
}

// lineLength is the length of the first line without its end.
func lineLength(b []byte) int {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i
	}
	return len(b)
}

// expression takes one expression and returns the offset behind it.
func (f *file) expression(n *unstable.Node) int {
	if n.Kind == unstable.KeyValue {
		path := []string{}
		if f.section != "" {
			path = append(path, f.section)
		}
		if !f.skip {
			f.keyValue(path, n)
		}
		return f.end(n.Raw)
	}
	path, raw := f.path(n)
	f.section, f.skip = path[0], false
	place := f.place(f.start(raw))
	name := strings.Join(path, ".")
	switch {
	case len(path) > 1 || !slices.Contains(sections(), path[0]):
		f.skip = true
		f.report(place, "unknown section [%s]%s sections are: %s", name, nearMiss(name, sections()), strings.Join(sections(), ", "))
	case n.Kind == unstable.ArrayTable:
		f.report(place, "[[%s]] is a list of tables: write [%s]", name, name)
	default:
		f.once(name, f.start(raw))
	}
	return f.end(raw) + lineLength(f.data[f.end(raw):])
}

// keyValue takes one assignment below path.
func (f *file) keyValue(path []string, n *unstable.Node) {
	names, raw := f.path(n)
	path = append(slices.Clone(path), names...)
	at := f.start(raw)
	if len(path) == 1 && slices.Contains(sections(), path[0]) {
		if n.Value().Kind != unstable.InlineTable {
			f.report(f.place(at), "%q is a section: write [%s] and its keys below", path[0], path[0])
			return
		}
		f.once(path[0], at)
		for it := n.Value().Children(); it.Next(); {
			f.keyValue(path, it.Node())
		}
		return
	}
	k, ok := key{}, false
	if len(path) == 2 {
		k, ok = findKey(path[0], path[1])
	}
	if !ok {
		f.report(f.place(at), "%s", unknownKey(path))
		return
	}
	if f.once(k.String(), at) {
		f.assign(k, n.Value(), at, f.valueOffset(n))
	}
}

// assign sets a key from its node. at is the offset of the key, value that of
// the value.
func (f *file) assign(k key, n *unstable.Node, at, value int) {
	var items []string
	wrong := false // in the type of an item
	places := map[int]string{-1: f.place(value)}
	switch {
	case k.kind == listKind && n.Kind == unstable.Array:
		for it := n.Children(); it.Next(); {
			item := it.Node()
			if item.Kind != unstable.String {
				wrong = true
				f.report(f.itemPlace(item, value), "%s: want %s, got %s in the list", k, k.kind, article(item.Kind))
				continue
			}
			places[len(items)] = f.itemPlace(item, value)
			items = append(items, string(item.Data))
		}
	case k.kind == integerKind && n.Kind == unstable.Integer:
		items = []string{decimal(string(n.Data))}
	case k.kind == booleanKind && n.Kind == unstable.Bool:
		items = []string{string(n.Data)}
	case (k.kind == textKind || k.kind == durationKind) && n.Kind == unstable.String:
		items = []string{string(n.Data)}
	default:
		f.bad[k.String()] = true
		f.report(f.place(value), "%s: want %s, got %s", k, k.kind, article(n.Kind))
		return
	}
	for _, flaw := range f.set(k, items, f.place(at)) {
		f.report(places[flaw.item], "%s: %s", k, flaw.text)
	}
	if lists := f.lists[k.String()]; len(lists) > 0 {
		lists[len(lists)-1].places = places
	}
	f.bad[k.String()] = f.bad[k.String()] || wrong
}

// once reports whether a section or key is there for the first time.
func (f *file) once(name string, at int) bool {
	if line, twice := f.seen[name]; twice {
		f.report(f.place(at), "%s is there twice, first in line %d", name, line)
		return false
	}
	line, _ := f.position(at)
	f.seen[name] = line
	return true
}

// unknownKey says what a key that no row has may have been meant to be.
func unknownKey(path []string) string {
	name := path[len(path)-1]
	if len(path) == 1 {
		for _, k := range keys {
			if k.name == name {
				return fmt.Sprintf("key %q stands in no section: did you mean it below [%s]?", name, k.section)
			}
		}
		return fmt.Sprintf("unknown key %q%s sections are: %s", name, nearMiss(name, sections()), strings.Join(sections(), ", "))
	}
	if !slices.Contains(sections(), path[0]) {
		return fmt.Sprintf("unknown section %q%s sections are: %s", path[0], nearMiss(path[0], sections()), strings.Join(sections(), ", "))
	}
	name = strings.Join(path[1:], ".")
	valid := keyNames(path[0])
	return fmt.Sprintf("unknown key %q in [%s]%s keys are: %s", name, path[0], nearMiss(name, valid), strings.Join(valid, ", "))
}

// decimal writes a TOML integer in plain digits; one that is too large stays
// as it is and is refused for its size.
func decimal(s string) string {
	if n, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 0, 64); err == nil {
		return strconv.FormatInt(n, 10)
	}
	return strings.ReplaceAll(s, "_", "")
}

func article(k unstable.Kind) string {
	switch k {
	case unstable.String:
		return "a string"
	case unstable.Bool:
		return "a boolean"
	case unstable.Integer:
		return "an integer"
	case unstable.Float:
		return "a float"
	case unstable.Array:
		return "a list"
	case unstable.InlineTable:
		return "a table"
	default:
		return "a date or time"
	}
}

// path returns the parts of an expression's key and where they stand.
func (f *file) path(n *unstable.Node) (names []string, raw unstable.Range) {
	for it := n.Key(); it.Next(); {
		part := it.Node()
		if names == nil {
			raw.Offset = part.Raw.Offset
		}
		raw.Length = part.Raw.Offset + part.Raw.Length - raw.Offset
		names = append(names, string(part.Data))
	}
	return names, raw
}

// valueOffset returns where the value of an assignment begins: not every node
// of a value knows it.
func (f *file) valueOffset(n *unstable.Node) int {
	_, raw := f.path(n)
	at := f.end(raw)
	for at < len(f.data)-1 && strings.ContainsRune(" \t=", rune(f.data[at])) {
		at++
	}
	return at
}

// itemPlace is where an item of a list stands; lists in lists do not know, then
// it is where the outer one begins.
func (f *file) itemPlace(n *unstable.Node, list int) string {
	if n.Raw.Length == 0 {
		return f.place(list)
	}
	return f.place(f.start(n.Raw))
}

func (f *file) start(r unstable.Range) int { return f.base + int(r.Offset) }
func (f *file) end(r unstable.Range) int   { return f.base + int(r.Offset+r.Length) }

// position returns line and column of an offset, both from 1. Columns count characters.
func (f *file) position(at int) (line, column int) {
	before := f.data[:at]
	line = bytes.Count(before, []byte("\n")) + 1
	return line, utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
}

func (f *file) place(at int) string {
	line, column := f.position(at)
	return fmt.Sprintf("%s:%d:%d", f.name, line, column)
}
