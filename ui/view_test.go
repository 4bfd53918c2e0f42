package ui

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pizzamill/pizzamill/platform/store"
)

// TestTotals reads the numbers of two orders, worked out by hand.
func TestTotals(t *testing.T) {
	dozen, _ := cookingDozen()
	tt := totals{Order: dozen, Now: noon}
	if got, want := tt.bar().text(), "7 of 12 complete, 3 cooking, 1 waiting, 1 dead-lettered"; got != want {
		t.Errorf("bar says %q, want %q", got, want)
	}
	if got, want := took(tt.elapsed()), "2.4 s"; got != want {
		t.Errorf("elapsed %q, want %q", got, want)
	}
	var got []string
	for _, p := range tt.bar().pieces() {
		got = append(got, p.Class+" "+p.X+" "+p.Width)
	}
	want := []string{"complete 0% 58.33%", "cooking 58.33% 25%", "waiting 83.33% 8.33%", "dead 91.67% 8.33%"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	large := totals{Order: largeOrder(), Now: noon}
	got = nil
	for _, r := range large.rows() {
		got = append(got, fmt.Sprint(r.Name, " ", r.Passed, " ", r.Here, " ", r.Dead))
	}
	want = []string{"pizza 10000 0 0", "sauce 9999 0 1", "cheese 9929 32 38", "meat 9927 1 1", "veggies 9926 1 0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := large.perSecond(large.Order.Completed); got != 210 {
		t.Errorf("%d pizzas/s, want 210", got)
	}
}

// TestBarsAddUp holds every bar to 100 %, with nothing that is there left invisible.
func TestBarsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.IntRange(1, 100000).Draw(t, "count")
		complete := rapid.IntRange(0, count).Draw(t, "complete")
		dead := rapid.IntRange(0, count-complete).Draw(t, "dead")
		cooking := rapid.IntRange(0, count-complete-dead).Draw(t, "cooking")
		b := bar{count, complete, cooking, count - complete - dead - cooking, dead}
		sum := 0.0
		for i, p := range b.pieces() {
			var x, width float64
			fmt.Sscanf(p.X, "%f%%", &x)
			fmt.Sscanf(p.Width, "%f%%", &width)
			if x < sum-0.05 || x > sum+0.05 {
				t.Fatalf("%+v: %s begins at %v, the one before ends at %v", b, p.Class, x, sum)
			}
			if n := []int{complete, cooking, b.Waiting, dead}[i]; (n > 0) != (width >= sliver-0.01) {
				t.Fatalf("%+v: %s is %v %% wide", b, p.Class, width)
			}
			sum += width
		}
		if sum < 99.95 || sum > 100.05 {
			t.Fatalf("%+v: widths add up to %v", b, sum)
		}
	})
}

// TestCountsAddUp: cooking and waiting are the parts of what is in flight, for
// whatever the ledger may say.
func TestCountsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.IntRange(1, 1000).Draw(t, "count")
		past := []int{rapid.IntRange(0, count).Draw(t, "pizza")}
		for i := 1; i < 5; i++ {
			past = append(past, rapid.IntRange(0, past[i-1]).Draw(t, "stage"))
		}
		dead := rapid.IntRange(0, count-past[4]).Draw(t, "dead")
		tt := totals{Order: store.Order{Count: count, Completed: past[4], DeadLettered: dead, Progress: steps(past...)}}
		for i := range tt.Order.Progress {
			tt.Order.Progress[i].Dead = rapid.IntRange(0, dead).Draw(t, "dead at a step")
		}
		if tt.cooking() < 0 || tt.waiting() < 0 || tt.cooking()+tt.waiting()+tt.Order.Completed+dead != count {
			t.Fatalf("%d cooking + %d waiting + %d complete + %d dead-lettered, want %d", tt.cooking(), tt.waiting(), past[4], dead, count)
		}
		here := 0
		for _, r := range tt.rows() {
			here += r.Here
		}
		if here > inFlight(tt.Order) {
			t.Fatalf("%d pizzas are somewhere, and %d in flight", here, inFlight(tt.Order))
		}
	})
}

func TestSteps(t *testing.T) {
	pl := testPipeline(t)
	for _, c := range []struct {
		name  string
		pizza store.Pizza
		want  string
	}{
		{"not dispatched", waitingPizza("x", 1), "pizza, sauce, cheese, meat, veggies"},
		{"dispatched", bake("x", 1, store.Cooking), "pizza done, sauce, cheese, meat, veggies"},
		{"cooking", bake("x", 1, store.Cooking, "sauce=pesto"), "pizza done, sauce done, cheese now, meat, veggies"},
		{"dead", failed(bake("x", 1, store.DeadLettered, "sauce=pesto"), "cheese", 5), "pizza done, sauce done, cheese failed, meat, veggies"},
		{"dead at the end", failed(anyPizza("x", 1), "pizza", 1), "pizza done, sauce done, cheese done, meat done, veggies done, pizza failed"},
		{"complete under another pipeline", bake("x", 1, store.Complete, "sauce=pesto", "crust=thin"), "pizza done, sauce done, crust done"},
		{"cooking under another pipeline", bake("x", 1, store.Cooking, "crust=thin", "sauce=pesto"), "pizza done, crust done, sauce done, cheese now, meat, veggies"},
	} {
		var got []string
		for _, s := range viewPizza(c.pizza, pl).Steps {
			got = append(got, strings.TrimSpace(s.Name+" "+s.Class))
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%s: steps %q, want %q", c.name, s, c.want)
		}
	}
}

func TestFailedSteps(t *testing.T) {
	for attempts, want := range map[int]string{0: "failed", 1: "failed once", 5: "failed 5 times"} {
		if got := failedStep(&store.Failure{Module: "meat", Attempts: attempts}).Note; got != want {
			t.Errorf("%d attempts: %q, want %q", attempts, got, want)
		}
	}
}

func TestPageLinks(t *testing.T) {
	for _, c := range []struct {
		page, of int
		want     []int
	}{
		{1, 209, []int{1, 2, 3, 0, 209}},
		{2, 209, []int{1, 2, 3, 0, 209}},
		{100, 209, []int{1, 0, 99, 100, 101, 0, 209}},
		{209, 209, []int{1, 0, 208, 209}},
		{1, 1, []int{1}},
		{2, 3, []int{1, 2, 3}},
	} {
		if got := pageLinks(c.page, c.of); !slices.Equal(got, c.want) {
			t.Errorf("page %d of %d links %v, want %v", c.page, c.of, got, c.want)
		}
	}
}

func TestJournalMarksTheAddedField(t *testing.T) {
	lines, _ := viewJournal(journalOf(bake("x", 1, store.Cooking, "sauce=pesto")), nil)
	marked := func(l journalLine) (out []string) {
		for _, j := range l.JSON {
			if j.Added {
				out = append(out, j.Text)
			}
		}
		return out
	}
	if got := marked(lines[0]); got != nil {
		t.Errorf("the first event added %q", got)
	}
	if diff := cmp.Diff([]string{`  "sauce": "pesto"`}, marked(lines[1])); diff != "" {
		t.Error(diff)
	}
	// A foreign stage may write an object beside its field, and its name in it.
	value, text := readBody([]byte(`{"id":"x-1","note":{"sauce":"no"},"sauce":"pesto","tags":[1]}`), "sauce")
	if got := marked(journalLine{JSON: text}); value != "pesto" || !slices.Equal(got, []string{`  "sauce": "pesto",`}) {
		t.Errorf("value %q, marked %q", value, got)
	}
}

// TestJSONShowsWhatCannotBeSeen: controls of direction are written as escapes.
func TestJSONShowsWhatCannotBeSeen(t *testing.T) {
	_, text := readBody([]byte(`{"id":"x-1","sauce":"`+"a\u202eb\u2069c\u061cd\u200e"+`"}`), "sauce")
	if got, want := text[2].Text, `  "sauce": "a\u202eb\u2069c\u061cd\u200e"`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestWaterfallCoversTheLife(t *testing.T) {
	p := bake("x", 1, store.Complete, "sauce=pesto", "cheese=ricotta")
	p.Steps[1].At, p.Steps[2].At = at(16+12), at(16+382)
	var got []string
	lines, _ := viewJournal(journalOf(p), nil)
	for _, l := range lines {
		got = append(got, fmt.Sprint(l.Elapsed, " ", l.X, " ", l.Width, " ", l.Slowest))
	}
	want := []string{"0 ms 0% 0.6% false", "+12 ms 0% 3.14% false", "+370 ms 3.14% 96.86% true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestFailureIsPartOfTheLife: the bars reach to the last attempt, also where the
// clock of the module that failed is behind.
func TestFailureIsPartOfTheLife(t *testing.T) {
	p := failed(bake("x", 1, store.DeadLettered, "sauce=pesto"), "cheese", 5)
	at := p.Steps[1].At
	for after, want := range map[time.Duration]string{360 * time.Millisecond: "+360 ms 25% 75% 0% 25%", -time.Hour: "+0 ms 99.4% 0.6% 0% 100%"} {
		p.Failure.At = at.Add(after)
		lines, burnt := viewJournal(journalOf(p), p.Failure)
		if got := fmt.Sprint(burnt.Elapsed, " ", burnt.X, " ", burnt.Width, " ", lines[1].X, " ", lines[1].Width); got != want {
			t.Errorf("failed after %v: %q, want %q", after, got, want)
		}
	}
	// Poison has no event before it.
	if lines, burnt := viewJournal(nil, p.Failure); lines != nil || burnt.Elapsed != "0 ms" {
		t.Errorf("without events: %v, %+v", lines, burnt)
	}
	if _, burnt := viewJournal(nil, &store.Failure{LetterID: "gone"}); burnt != nil {
		t.Errorf("a letter that is gone: %+v", burnt)
	}
}
