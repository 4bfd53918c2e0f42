package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// kind is the form that a value has in a file.
type kind int

const (
	textKind kind = iota
	integerKind
	booleanKind
	durationKind
	listKind
)

// String says what to write, for error messages.
func (k kind) String() string {
	switch k {
	case integerKind:
		return "an integer"
	case booleanKind:
		return "true or false"
	case durationKind:
		return `a duration in quotes, such as "250ms"`
	case listKind:
		return `a list of strings, such as ["a", "b"]`
	default:
		return "a string in quotes"
	}
}

// value reads and writes the value of one key. A value travels as text items:
// a list has any number, everything else has one.
type value struct {
	kind kind
	// set checks the items and, if they have no flaw, stores them.
	set func(c *Config, items []string, known Names) []flaw
	get func(c *Config) []string
}

// flaw says what is wrong with one item of a value; item is -1 if it is the
// value as a whole.
type flaw struct {
	item int
	text string
}

// items splits a value as it stands in an environment variable or a flag.
func (v value) items(s string) []string {
	if v.kind != listKind {
		return []string{s}
	}
	if strings.Trim(s, ", \t\r\n") == "" {
		return nil // commas alone list nothing
	}
	items := strings.Split(s, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}

// scalar builds the value of a key with one item.
func scalar[T any](k kind, field func(*Config) *T, parse func(string) (T, error), format func(T) string) value {
	return value{
		kind: k,
		set: func(c *Config, items []string, _ Names) []flaw {
			v, err := parse(items[0])
			if err != nil {
				return []flaw{{-1, err.Error()}}
			}
			*field(c) = v
			return nil
		},
		get: func(c *Config) []string { return []string{format(*field(c))} },
	}
}

func text(field func(*Config) *string, check func(string) error) value {
	parse := func(s string) (string, error) { return s, check(s) }
	return scalar(textKind, field, parse, func(s string) string { return s })
}

// anyText is the check of a text that can be anything.
func anyText(string) error { return nil }

// choice is a text that is one of a few words, or one of those that go without saying.
func choice(field func(*Config) *string, noun string, words []string, also ...string) value {
	return text(field, func(s string) error {
		if slices.Contains(words, s) || slices.Contains(also, s) {
			return nil
		}
		return fmt.Errorf("unknown %s %q%s want one of: %s", noun, s, nearMiss(s, words), strings.Join(words, ", "))
	})
}

// integer is from 1 to most.
func integer(field func(*Config) *int, most int) value {
	parse := func(s string) (int, error) {
		n, err := strconv.ParseInt(s, 10, 64)
		switch {
		case err != nil && !isRange(err):
			return 0, fmt.Errorf("%q is no integer", s)
		case err != nil || n < 1 || n > int64(most):
			return 0, fmt.Errorf("%s is out of range: want 1 to %d", s, most)
		}
		return int(n), nil
	}
	return scalar(integerKind, field, parse, strconv.Itoa)
}

func boolean(field func(*Config) *bool) value {
	parse := func(s string) (bool, error) {
		if s != "true" && s != "false" {
			return false, fmt.Errorf("%q is neither true nor false", s)
		}
		return s == "true", nil
	}
	return scalar(booleanKind, field, parse, strconv.FormatBool)
}

// duration is from a millisecond, since nothing may spin, to an hour.
func duration(field func(*Config) *time.Duration) value {
	return durationUpTo(field, time.Millisecond, time.Hour)
}

func durationUpTo(field func(*Config) *time.Duration, least, most time.Duration) value {
	parse := func(s string) (time.Duration, error) { return parseDuration(s, least, most) }
	return scalar(durationKind, field, parse, formatDuration)
}

func list(field func(*Config) *[]string, check func([]string, Names) []flaw) value {
	return value{
		kind: listKind,
		set: func(c *Config, items []string, known Names) []flaw {
			if flaws := check(items, known); len(flaws) > 0 {
				return flaws
			}
			*field(c) = items
			return nil
		},
		get: func(c *Config) []string { return *field(c) },
	}
}

func shares(field func(*Config) *map[string]float64) value {
	parse := func(s string) (float64, error) {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is no number", s)
		}
		if !(v >= 0 && v <= 1) { // NaN is neither
			return 0, fmt.Errorf("%s is out of range: a share is from 0 to 1", s)
		}
		return v, nil
	}
	return pairs(field, "0.1", parse, func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) })
}

func delays(field func(*Config) *map[string]time.Duration) value {
	parse := func(s string) (time.Duration, error) { return parseDuration(s, 0, time.Hour) }
	return pairs(field, "50ms", parse, formatDuration)
}

// pairs is a list of stage=value. Whether the stages are in the pipeline is
// known only when all keys are read: see rules.go.
func pairs[T any](field func(*Config) *map[string]T, sample string, parse func(string) (T, error), format func(T) string) value {
	return value{
		kind: listKind,
		set: func(c *Config, items []string, _ Names) []flaw {
			var flaws []flaw
			m := make(map[string]T, len(items))
			for i, item := range items {
				stage, s, ok := strings.Cut(item, "=")
				stage, s = strings.TrimSpace(stage), strings.TrimSpace(s)
				if !ok || stage == "" {
					flaws = append(flaws, flaw{i, fmt.Sprintf("%q: want stage=value, such as cheese=%s", item, sample)})
					continue
				}
				v, err := parse(s)
				if err != nil {
					flaws = append(flaws, flaw{i, stage + ": " + err.Error()})
				}
				if _, twice := m[stage]; twice {
					flaws = append(flaws, flaw{i, fmt.Sprintf("stage %q is listed twice", stage)})
				}
				m[stage] = v
			}
			if len(flaws) == 0 {
				*field(c) = m
			}
			return flaws
		},
		get: func(c *Config) []string {
			var items []string
			for _, stage := range slices.Sorted(maps.Keys(*field(c))) {
				items = append(items, stage+"="+format((*field(c))[stage]))
			}
			return items
		},
	}
}

func parseDuration(s string, least, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is no duration: want a number and a unit, such as 250ms or 30s", s)
	}
	if d < least || d > most {
		return 0, fmt.Errorf("%s is out of range: want %s to %s", s, formatDuration(least), formatDuration(most))
	}
	return d, nil
}

// formatDuration leaves out the zero units that time.Duration prints: 1h, not 1h0m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
