package ui

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

// asText writes layers in a line.
func asText(layers []layer) string {
	var out []string
	for _, l := range layers {
		s := fmt.Sprintf("%s %d", l.Symbol, l.Turn)
		if l.Color != "" {
			s += " " + l.Color
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

// TestPictures knows a few pictures by heart: they must stay as they are, since a
// pizza of last year is the same picture today.
func TestPictures(t *testing.T) {
	const order = "01kaz7q4m2x8"
	for _, c := range []struct {
		name  string
		pizza store.Pizza
		want  string
	}{
		{"complete", bake(order, 7, store.Complete, "sauce=tomato", "cheese=burrata", "meat=prosciutto", "veggies=basil"),
			"base-baked 247, sauce-tomato 203, cheese-burrata 157, meat-prosciutto 227, veggies-basil 286"},
		{"two words", bake(order, 1, store.Complete, "sauce=garlic oil", "cheese=provolone", "meat=anchovies", "veggies=black olives"),
			"base-baked 249, sauce-garlic-oil 297, cheese-provolone 55, meat-anchovies 309, veggies-black-olives 180"},
		{"an apostrophe", bake(order, 4, store.Complete, "sauce=marinara", "cheese=gorgonzola", "meat='nduja", "veggies=red onion"),
			"base-baked 66, sauce-marinara 310, cheese-gorgonzola 298, meat-nduja 308, veggies-red-onion 139"},
		{"cooking", bake(order, 8, store.Cooking, "sauce=marinara", "cheese=mozzarella", "meat=pepperoni"),
			"base-raw 78, sauce-marinara 354, cheese-mozzarella 102, meat-pepperoni 40"},
		{"dead-lettered", failed(bake(order, 9, store.DeadLettered, "sauce=arrabbiata", "cheese=parmesan"), "meat", 5),
			"base-burnt 257, sauce-arrabbiata 97, cheese-parmesan 207"},
		{"dispatched", bake(order, 12, store.Cooking), "base-raw 1"},
		{"not dispatched", waitingPizza(order, 12), "base-waiting 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := asText(picture(c.pizza.ID, baseOf(c.pizza), ingredients(c.pizza)))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestUnknownIngredients has the colours of what no menu knows, by heart too.
func TestUnknownIngredients(t *testing.T) {
	id := event.PizzaID{Order: "x", Number: 1}
	for _, c := range []struct {
		in   ingredient
		want string
	}{
		{ingredient{"sauce", "romesco"}, "sauce-other hsl(71 42% 58%)"},
		{ingredient{"cheese", "manchego"}, "cheese-other hsl(89 42% 82%)"},
		{ingredient{"meat", "chorizo"}, "meat-other hsl(105 42% 48%)"},
		{ingredient{"veggies", "figs"}, "veggies-other hsl(58 42% 48%)"},
		{ingredient{"sauce", "slow-cooked San Marzano tomato with Calabrian chilli & pumpkin cream"}, "sauce-other hsl(60 42% 58%), sauce-pumpkin-cream"},
		{ingredient{"veggies", "flame-grilled Mediterranean aubergine, jalapeños"}, "veggies-other hsl(37 42% 48%), veggies-jalapenos"},
		{ingredient{"meat", "pepperoni and salami"}, "meat-pepperoni, meat-salami"},
		{ingredient{"meat", "sandwich ham"}, fmt.Sprintf("meat-other hsl(%d 42%% 48%%)", fnv32("sandwich ham")%110)},
		{ingredient{"meat", "none"}, ""},
		{ingredient{"meat", ""}, ""},
		{ingredient{"meat", "None, ham"}, "meat-ham"},
		{ingredient{"crust", "stuffed"}, "crust-stuffed"},
		{ingredient{"crust", "gold leaf"}, ""},
		{ingredient{"dessert", "tiramisu"}, fmt.Sprintf("other hsl(%d 42%% 48%%)", fnv32("tiramisu")%110)},
		// A foreign stage must not reach symbols that are not its own.
		{ingredient{"base", "burnt"}, fmt.Sprintf("other hsl(%d 42%% 48%%)", fnv32("burnt")%110)},
		{ingredient{"i", "trash"}, fmt.Sprintf("other hsl(%d 42%% 48%%)", fnv32("trash")%110)},
	} {
		var got []string
		for _, l := range picture(id, "base-raw", []ingredient{c.in})[1:] {
			got = append(got, strings.TrimSpace(l.Symbol+" "+l.Color))
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%s = %q is drawn as %q, want %q", c.in.Stage, c.in.Value, s, c.want)
		}
	}
}

func TestCrustLiesUnderTheRest(t *testing.T) {
	p := bake("x", 1, store.Cooking, "sauce=tomato", "cheese=burrata", "crust=sesame")
	var got []string
	for _, l := range viewPizza(p, testPipeline(t, "sauce", "cheese", "crust")).Layers {
		got = append(got, l.Symbol)
	}
	if want := []string{"base-raw", "crust-sesame", "sauce-tomato", "cheese-burrata"}; !slices.Equal(got, want) {
		t.Errorf("layers %v, want %v", got, want)
	}
}

func TestSlug(t *testing.T) {
	for in, want := range map[string]string{
		"jalapeños": "jalapenos", "goat cheese": "goat-cheese", "'nduja": "nduja", "Crème  fraîche!": "creme-fraiche",
		"jalapen\u0303os": "jalapenos", "ŻUREK": "zurek", "豆腐": "", "": "", "100% beef": "100-beef",
	} {
		if got := slug(in); got != want {
			t.Errorf("slug(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestSheetHasEverySymbol looks up each symbol that templates and code name.
func TestSheetHasEverySymbol(t *testing.T) {
	for _, page := range storybook(t) {
		html := renderText(t, page)
		for _, part := range strings.Split(html, symbolURL+"#")[1:] {
			name, _, _ := strings.Cut(part, `"`)
			if !symbols[name] {
				t.Errorf("the sheet has no symbol %q", name)
			}
		}
	}
}

func BenchmarkCard(b *testing.B) {
	pl := testPipeline(b)
	p := anyPizza("01kaz7q4m2x8", 7)
	for b.Loop() {
		renderText(b, card(viewPizza(p, pl)))
	}
}
