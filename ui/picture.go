package ui

import (
	"hash/fnv"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/store"
)

// layer is one <use> of a pizza's picture: a symbol of the sheet, turned. Color
// is set for what the menu does not know.
type layer struct {
	Symbol string
	Turn   uint32 // degrees
	Color  string
}

// stageCrust is drawn between the base and everything else, wherever it stands
// in the pipeline.
const stageCrust = "crust"

// drawn are the stages that the sheet has symbols for. Names are compared with
// this list first, so that a foreign stage named "base" or "i" finds no symbol
// that is not its own.
var drawn = map[string]bool{stageCrust: true, "sauce": true, "cheese": true, "meat": true, "veggies": true}

// ingredient is the value that a stage has put on a pizza.
type ingredient struct{ Stage, Value string }

// picture returns the layers of a pizza from the dough up: one event, one
// layer. Everything is a function of the pizza, so that the same pizza is the
// same picture on every page and after every replay.
func picture(id event.PizzaID, base string, on []ingredient) []layer {
	name := id.String()
	layers := make([]layer, 0, 1+len(on))
	layers = append(layers, layer{Symbol: base, Turn: turn(name)})
	for _, in := range on {
		if in.Stage == stageCrust {
			layers = appendParts(layers, name, in)
		}
	}
	for _, in := range on {
		if in.Stage != stageCrust {
			layers = appendParts(layers, name, in)
		}
	}
	return layers
}

// appendParts draws each part of a value such as "pepperoni & salami".
func appendParts(layers []layer, pizza string, in ingredient) []layer {
	degrees := turn(pizza + "/" + in.Stage)
	for _, part := range parts(in.Value) {
		l := layer{Turn: degrees}
		switch symbol := in.Stage + "-" + slug(part); {
		case drawn[in.Stage] && symbols[symbol]:
			l.Symbol = symbol
		case in.Stage == stageCrust:
			continue
		case drawn[in.Stage]:
			l.Symbol, l.Color = in.Stage+"-other", hue(in.Stage, part)
		default:
			l.Symbol, l.Color = "other", hue(in.Stage, part)
		}
		layers = append(layers, l)
	}
	return layers
}

// baseOf returns the dough that a pizza's picture stands on.
func baseOf(p store.Pizza) string {
	switch {
	case p.Status == store.Complete:
		return "base-baked"
	case p.Status == store.DeadLettered:
		return "base-burnt"
	case len(p.Steps) == 0:
		return "base-waiting"
	default:
		return "base-raw"
	}
}

func fnv32(s string) uint32 {
	h := fnv.New32a()
	_, _ = io.WriteString(h, s) // a hash takes everything
	return h.Sum32()
}

func turn(s string) uint32 { return fnv32(s) % 360 }

// hue is the colour of something unknown: one of many, and always the same.
func hue(stage, part string) string {
	lightness := "48%"
	switch stage {
	case "sauce":
		lightness = "58%"
	case "cheese":
		lightness = "82%"
	}
	return "hsl(" + strconv.Itoa(int(fnv32(part)%110)) + " 42% " + lightness + ")"
}

var between = regexp.MustCompile(`\s*(?:&|,|\band\b)\s*`)

// parts splits a value into what is drawn. "none" is drawn as nothing.
func parts(value string) []string {
	if plain(value) {
		return []string{value}
	}
	var out []string
	for _, part := range between.Split(value, -1) {
		if part = strings.TrimSpace(part); part != "" && !strings.EqualFold(part, "none") {
			out = append(out, part)
		}
	}
	return out
}

// plain reports whether a value is one part as it stands, which nearly all are.
func plain(value string) bool {
	return value != "" && value == strings.TrimSpace(value) && !strings.ContainsAny(value, "&,") &&
		!strings.Contains(value, "and") && !strings.EqualFold(value, "none")
}

// unaccented are the letters of Latin script with their accents dropped.
var unaccented = strings.NewReplacer(
	"à", "a", "á", "a", "â", "a", "ã", "a", "ä", "a", "å", "a", "ā", "a", "ă", "a", "ą", "a", "æ", "ae",
	"ç", "c", "ć", "c", "č", "c", "ď", "d", "đ", "d", "è", "e", "é", "e", "ê", "e", "ë", "e", "ē", "e", "ė", "e", "ę", "e", "ě", "e",
	"ğ", "g", "ì", "i", "í", "i", "î", "i", "ï", "i", "ī", "i", "ı", "i", "ł", "l", "ñ", "n", "ń", "n", "ň", "n",
	"ò", "o", "ó", "o", "ô", "o", "õ", "o", "ö", "o", "ø", "o", "ō", "o", "ő", "o", "œ", "oe", "ř", "r",
	"ś", "s", "š", "s", "ş", "s", "ș", "s", "ß", "ss", "ť", "t", "ț", "t", "ù", "u", "ú", "u", "û", "u", "ü", "u", "ū", "u", "ů", "u", "ű", "u",
	"ý", "y", "ÿ", "y", "ź", "z", "ż", "z", "ž", "z",
)

// slug turns an ingredient into the second half of a symbol's name: lower case,
// accents dropped, everything else a single dash.
func slug(s string) string {
	s = strings.ToLower(s)
	for i := range len(s) {
		if s[i] >= 0x80 {
			s = unaccented.Replace(s)
			break
		}
	}
	out := make([]byte, 0, len(s))
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			out = append(out, byte(r))
		case r >= 0x300 && r <= 0x36f: // an accent that stands by itself
		case len(out) > 0 && out[len(out)-1] != '-':
			out = append(out, '-')
		}
	}
	return strings.TrimSuffix(string(out), "-")
}
