package config

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// redacted stands for a secret. It has spaces, which no token may have: who
// feeds printed configuration back gets an error and not a known password.
const redacted = "* not shown *"

// Example returns config.example.toml: every key, commented out, with its
// default and what it is for.
func Example() string {
	var b strings.Builder
	b.WriteString(`# pizzamill: every key, commented out, with its default.
#
# Read from ./config.toml if that exists, or from the file of --config.
# [section] key is also the environment variable PIZZAMILL_SECTION_KEY, with
# lists comma-separated. A flag wins over the environment, the environment over
# this file, this file over the default. Durations look like "250ms".
# "pizzamill config check" finds every mistake.
`)
	c := defaults()
	section := ""
	for _, k := range keys {
		if k.section != section {
			section = k.section
			fmt.Fprintf(&b, "\n[%s]\n", section)
		} else {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "# %s\n", k.why)
		if k.secret {
			fmt.Fprintf(&b, "# A secret: better in %s, or in the file that %s%s names.\n", k.env(), k.env(), fileSuffix)
		}
		fmt.Fprintf(&b, "#%s = %s\n", k.name, k.toml(&c))
	}
	return b.String()
}

// Print writes the effective configuration as TOML, each value with the place
// that it came from. Secrets are not shown.
func (l Loaded) Print(w io.Writer) error {
	var lines, places []string
	width := 0
	section := ""
	for _, k := range keys {
		if k.section != section {
			if section != "" {
				lines, places = append(lines, ""), append(places, "")
			}
			section = k.section
			lines, places = append(lines, "["+section+"]"), append(places, "")
		}
		shown := k.toml(&l.Config)
		place := l.shownPlace(k.String())
		if k.secret && k.get(&l.Config)[0] != k.def {
			shown = strconv.Quote(redacted)
		}
		line := k.name + " = " + shown
		width = max(width, utf8.RuneCountInString(line))
		lines, places = append(lines, line), append(places, place)
	}
	var b strings.Builder
	for i, line := range lines {
		b.WriteString(line)
		if places[i] != "" {
			fmt.Fprintf(&b, "%*s  # %s", width-utf8.RuneCountInString(line), "", places[i])
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// shownPlace says where the value of a key came from.
func (l Loaded) shownPlace(key string) string {
	place := l.place(key)
	if place == "" {
		place = "default"
	}
	if from := l.resolved[key]; from != "" {
		place += ": " + from
	}
	return place
}

// toml writes a value as TOML.
func (v value) toml(c *Config) string {
	items := v.get(c)
	switch v.kind {
	case integerKind, booleanKind:
		return items[0]
	case listKind:
		quoted := make([]string, len(items))
		for i, item := range items {
			quoted[i] = quoteTOML(item)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	default:
		return quoteTOML(items[0])
	}
}

// quoteTOML writes a basic string. Go's escapes differ from TOML's in control
// characters alone.
func quoteTOML(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
