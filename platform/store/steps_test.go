package store

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pizzamill/pizzamill/platform/event"
)

func TestStepsText(t *testing.T) {
	steps := []StepState{
		{Name: "pizza", Event: 1, At: 1795428000123},
		{Name: "sauce", Event: 400_001, At: -5, Inferred: true},
	}
	text := string(AppendSteps(nil, steps))
	if text != "pizza 1 1795428000123,sauce 400001 -5?" {
		t.Errorf("text is %q", text)
	}
	got, err := ParseSteps(text)
	if err != nil || !cmp.Equal(got, steps) {
		t.Errorf("parsed %v, %v", got, err)
	}
	if got, err := ParseSteps(""); err != nil || got != nil {
		t.Errorf("parsed %v, %v from nothing", got, err)
	}
	for _, bad := range []string{"pizza", "pizza 1", "pizza x 1", "pizza 1 x", "pizza 1 2,", "pizza 1 2 3"} {
		if _, err := ParseSteps(bad); err == nil {
			t.Errorf("%q was parsed", bad)
		}
	}
}

func TestProgressText(t *testing.T) {
	progress := []StepCount{{Step: "pizza", Count: 100_000, Dead: 12}, {Step: "sauce"}}
	text := string(AppendProgress(nil, progress))
	if text != "pizza 100000 12,sauce 0 0" {
		t.Errorf("text is %q", text)
	}
	got, err := ParseProgress(text)
	if err != nil || !cmp.Equal(got, progress) {
		t.Errorf("parsed %v, %v", got, err)
	}
	for _, bad := range []string{"pizza", "pizza 1", "pizza x 0", "pizza 1 0,"} {
		if _, err := ParseProgress(bad); err == nil {
			t.Errorf("%q was parsed", bad)
		}
	}
}

func TestArrange(t *testing.T) {
	p, err := event.NewPipeline("sauce", "cheese", "meat")
	if err != nil {
		t.Fatal(err)
	}
	own := func(name string, number, at int64) StepState { return StepState{Name: name, Event: number, At: at} }
	inferred := func(name string, number, at int64) StepState {
		return StepState{Name: name, Event: number, At: at, Inferred: true}
	}
	for name, c := range map[string]struct {
		steps []StepState
		want  string
		shown []int64
	}{
		"nothing":                  {nil, "", nil},
		"in order":                 {[]StepState{own("pizza", 1, 5), own("sauce", 2, 6)}, "pizza sauce", []int64{5, 6}},
		"drawn out of order":       {[]StepState{own("sauce", 1, 6), own("pizza", 2, 5)}, "pizza sauce", []int64{5, 6}},
		"raised":                   {[]StepState{own("pizza", 1, 9), own("sauce", 2, 6)}, "pizza sauce", []int64{9, 9}},
		"inferred":                 {[]StepState{inferred("pizza", 1, 7), inferred("sauce", 2, 7), own("cheese", 3, 7)}, "pizza sauce cheese", []int64{7, 7, 7}},
		"between own ones":         {[]StepState{own("pizza", 1, 3), inferred("sauce", 2, 9), own("cheese", 3, 7)}, "pizza sauce cheese", []int64{3, 7, 7}},
		"by a letter":              {[]StepState{own("pizza", 1, 3), inferred("sauce", 2, 2), inferred("cheese", 3, 8)}, "pizza sauce cheese", []int64{3, 3, 8}},
		"left the pipeline":        {[]StepState{own("pizza", 1, 1), own("crust", 2, 2), own("sauce", 3, 3)}, "pizza crust sauce", []int64{1, 2, 3}},
		"left, and nothing behind": {[]StepState{own("pizza", 1, 1), own("ham", 2, 2), own("crust", 3, 1)}, "pizza ham crust", []int64{1, 2, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			var names []string
			var shown []int64
			for _, s := range arrange(p, c.steps) {
				names = append(names, s.Name)
				shown = append(shown, s.shown)
			}
			if got := strings.Join(names, " "); got != c.want || !slices.Equal(shown, c.shown) {
				t.Errorf("got %s %v, want %s %v", got, shown, c.want, c.shown)
			}
		})
	}
}

func TestOrderIDs(t *testing.T) {
	clock := time.UnixMilli(1795428000123)
	g := orderIDs{now: func() time.Time { return clock }, random: bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xfe, 1, 2, 3, 4})}
	next := func() string {
		t.Helper()
		id, err := g.next()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	want := []string{
		"06h0fp91ffzzzzzy", // in one millisecond the random part counts on
		"06h0fp91ffzzzzzz",
		"06h0fp91fg000000", // and carries
		"06h0fp91fg000001",
	}
	for i, w := range want {
		if i == 2 {
			clock = clock.Add(-time.Hour)
		}
		if id := next(); len(id) != 16 || id <= slices.Max(append([]string{""}, want[:i]...)) {
			t.Errorf("ID %d is %s", i, id)
		} else if id != w {
			t.Errorf("ID %d is %s, want %s", i, id, w)
		}
	}
	clock = clock.Add(2 * time.Hour) // an hour past where it began
	if id := next(); id != "06h0g40fzc0g40r4" {
		t.Errorf("ID of a new millisecond is %s", id)
	}
	clock = clock.Add(time.Hour)
	if id, err := g.next(); err == nil {
		t.Errorf("without randomness the ID is %s", id)
	}
}
