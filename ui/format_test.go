package ui

import (
	"testing"
	"time"
)

func TestNumbers(t *testing.T) {
	for n, want := range map[int]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 48210: "48,210", 1234567: "1,234,567", -1000: "-1,000", -7: "-7"} {
		if got := num(n); got != want {
			t.Errorf("num(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 ms", 0: "0 ms", 382 * time.Millisecond: "382 ms", 999*time.Millisecond + 999999: "999 ms",
		time.Second: "1.0 s", 1949 * time.Millisecond: "1.9 s", 59999 * time.Millisecond: "59.9 s",
		time.Minute: "1 min 0 s", 125 * time.Second: "2 min 5 s", 3*time.Hour + 12*time.Minute: "3 h 12 min", 1234 * time.Hour: "1,234 h 0 min",
	} {
		if got := took(d); got != want {
			t.Errorf("took(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestTimes(t *testing.T) {
	berlin := time.FixedZone("CET", 3600)
	when := time.Date(2026, 1, 2, 4, 5, 6, 7e6+999999, berlin)
	if got, want := stamp(when), "2026-01-02T03:05:06.007Z"; got != want {
		t.Errorf("stamp = %s, want %s", got, want)
	}
	if got, want := clock(when), "03:05:06.007"; got != want {
		t.Errorf("clock = %s, want %s", got, want)
	}
	now := time.Date(2026, 1, 2, 0, 30, 0, 0, time.UTC)
	for ago, want := range map[time.Duration]string{
		-time.Second: "just now", 59 * time.Second: "just now", time.Minute: "00:29", time.Hour: "yesterday", 24 * time.Hour: "yesterday",
		25 * time.Hour: "31 Dec 2025",
	} {
		if got := since(now.Add(-ago), now); got != want {
			t.Errorf("since %v ago = %q, want %q", ago, got, want)
		}
	}
	if got := since(now.AddDate(0, 5, 0), now.AddDate(0, 5, 9)); got != "2 Jun" {
		t.Errorf("since nine days ago = %q, want 2 Jun", got)
	}
}

func TestNames(t *testing.T) {
	pl := testPipeline(t)
	for _, c := range []struct {
		view pizzaView
		want string
	}{
		{viewPizza(waitingPizza("x", 1), pl), "Not on the line yet"},
		{viewPizza(bake("x", 1, "cooking"), pl), "Plain dough, so far"},
		{viewPizza(bake("x", 1, "cooking", "sauce=pesto"), pl), "Pesto …"},
		{viewPizza(bake("x", 1, "cooking", "sauce=pesto", "cheese=ricotta"), pl), "Pesto, ricotta …"},
		{viewPizza(bake("x", 1, "complete", "sauce=pesto"), pl), "Pesto"},
		{viewPizza(bake("x", 1, "complete", "sauce=none"), pl), "Plain dough"},
		{viewPizza(bake("x", 1, "complete", "sauce=éclair", "cheese=none", "meat=ham"), pl), "Éclair and ham"},
		{viewPizza(bake("x", 1, "complete", "sauce='nduja", "cheese=ricotta", "meat=ham"), pl), "'nduja, ricotta and ham"},
	} {
		if got := c.view.Name.plain(); got != c.want {
			t.Errorf("name %q, want %q", got, c.want)
		}
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct{ in, want string }{{"abc", "abc"}, {"abcd", "abc…"}, {"ñññ", "ñññ"}, {"ññññ", "ñññ…"}, {"", ""}} {
		if got := cut(c.in, 3); got != c.want {
			t.Errorf("cut(%q, 3) = %q, want %q", c.in, got, c.want)
		}
	}
}
