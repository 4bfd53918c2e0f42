package ui

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pizzamill/pizzamill/platform/event"
)

// num writes a whole number exactly, with a comma between thousands.
func num[T ~int | ~int64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// pizzas writes a number of pizzas: "1 pizza", "10,000 pizzas".
func pizzas(n int) string {
	if n == 1 {
		return "1 pizza"
	}
	return num(n) + " pizzas"
}

// times writes how often something happened: "once", "5 times".
func times(n int) string {
	if n == 1 {
		return "once"
	}
	return num(n) + " times"
}

// took writes a duration in the unit that people would say: "382 ms", "47.2 s",
// "2 min 5 s", "3 h 12 min".
func took(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < time.Minute:
		tenths := d.Milliseconds() / 100 // cut, not rounded: 59.99 s is not 60.0 s
		return strconv.FormatInt(tenths/10, 10) + "." + strconv.FormatInt(tenths%10, 10) + " s"
	case d < time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + " min " + strconv.Itoa(int(d%time.Minute/time.Second)) + " s"
	default:
		return num(int(d/time.Hour)) + " h " + strconv.Itoa(int(d%time.Hour/time.Minute)) + " min"
	}
}

// stamp is a time for machines: UTC with three digits of milliseconds.
func stamp(t time.Time) string { return event.FormatTime(t) }

// clock is the time of an event: HH:MM:SS.mmm, UTC.
func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }

// placed is when an order was taken, with the day unless that is today.
func placed(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	if sameDay(t, now) {
		return t.Format("15:04:05")
	}
	return t.Format("2 Jan 2006, 15:04:05")
}

// since says when an order was taken in a word or two that stay as they are:
// a page that nobody touches must not be full of clocks.
func since(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	switch {
	case now.Sub(t) < time.Minute:
		return "just now"
	case sameDay(t, now):
		return t.Format("15:04")
	case sameDay(t, now.AddDate(0, 0, -1)):
		return "yesterday"
	case t.Year() == now.Year():
		return t.Format("2 Jan")
	default:
		return t.Format("2 Jan 2006")
	}
}

func sameDay(a, b time.Time) bool {
	return a.YearDay() == b.YearDay() && a.Year() == b.Year()
}

// percent writes part of whole as an SVG length.
func percent(part, whole float64) string {
	if whole <= 0 {
		return "0%"
	}
	return trimFloat(100*part/whole) + "%"
}

// trimFloat writes a number with up to two digits behind the point.
func trimFloat(f float64) string {
	s := strconv.FormatFloat(f, 'f', 2, 64)
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}

// capital turns the first letter into a capital, as at the start of a sentence.
func capital(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	return string(unicode.ToUpper(r)) + s[n:]
}

// cut shortens text to at most n characters.
func cut(s string, n int) string {
	i := 0
	for at := range s {
		if i == n {
			return s[:at] + "…"
		}
		i++
	}
	return s
}
