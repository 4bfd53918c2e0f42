package ui

import (
	"strings"
	"testing"

	"github.com/pizzamill/pizzamill/platform/store"
)

// TestForeignTextStandsForItself: a stage of someone else's writes what it likes,
// and turns nothing but its own words.
func TestForeignTextStandsForItself(t *testing.T) {
	const turned = "\u202egnp.eseehc"
	p := bake("x", 1, store.Complete, "sauce=pesto", "cheese="+turned, "meat=גבינה", "veggies=basil")
	v := viewPizza(p, testPipeline(t))
	if got, want := renderText(t, words(v.Name)), "Pesto, <bdi>"+turned+"</bdi>, <bdi>גבינה</bdi> and basil"; got != want {
		t.Errorf("name %q, want %q", got, want)
	}
	if got, want := v.Name.plain(), "Pesto, gnp.eseehc, גבינה and basil"; got != want {
		t.Errorf("plain name %q, want %q", got, want)
	}
	for text, want := range map[string]string{
		"a\u2069\u202eb":       "<bdi>a\u202eb</bdi>", // would end the isolate around it
		"\u2067a\u2069b\u2069": "<bdi>\u2067a\u2069b</bdi>",
		"a<b":                  "a&lt;b",
		"\u061c":               "<bdi>\u061c</bdi>",
		"jalapeños, 芝士 🧀":      "jalapeños, 芝士 🧀",
	} {
		if got := renderText(t, words(theirs(text))); got != want {
			t.Errorf("%q is written as %q, want %q", text, got, want)
		}
	}
}

// TestPagesIsolateForeignText looks at every page that shows such text.
func TestPagesIsolateForeignText(t *testing.T) {
	k := newKitchen(t)
	const turned = "\u202egnp.eseehc"
	id := k.place(2)
	k.advance(id, 1, "pizza", "sauce=pesto", "cheese="+turned, "meat=ham", "veggies=basil")
	k.advance(id, 2, "pizza", "sauce="+turned)
	k.bury(id, 2, "cheese\u202e", "pizza-with-sauce")
	for _, path := range []string{"/", "/orders/" + id, "/pizzas/" + id + "-1", "/pizzas/" + id + "-2", "/orders/x\u202ey"} {
		text := get(k.Main, path).Text
		bare := strings.NewReplacer("<bdi>"+turned+"</bdi>", "", "<bdi>\u202eGnp.eseehc</bdi>", "", "<bdi>cheese\u202e</bdi>", "").Replace(text)
		for i := range bare {
			if strings.HasPrefix(bare[i:], "\u202e") {
				t.Errorf("%s: text is not isolated: %q", path, bare[max(0, i-80):min(len(bare), i+20)])
			}
		}
	}
	get(k.Main, "/pizzas/"+id+"-1").want(t, 200, "<title>Pesto, gnp.eseehc, ham and basil", `aria-label="Pesto, gnp.eseehc, ham and basil"`, `&#34;\u202egnp.eseehc&#34;`)
}
