package event_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pizzamill/pizzamill/platform/event"
)

func TestParseAcceptsWhatTheContractAllows(t *testing.T) {
	for name, body := range map[string]string{
		"minimal":          `{"id":"o-7"}`,
		"whole":            `{"id":"o-7","order_id":"o","number":7,"sauce":"pesto"}`,
		"spaces":           " {\n\t\"id\" : \"o-7\" , \"number\" :7 }\r\n",
		"unknown fields":   `{"id":"o-7","x":[1,{"id":2}],"y":null,"z":{"a":"}"}}`,
		"escaped name":     `{"\u0069d":"o-7"}`,
		"escaped quote":    `{"a\\\"b":"c\\","id":"o-7"}`,
		"empty object in":  `{"a":{},"b":[],"id":"o-7"}`,
		"inner duplicates": `{"id":"o-7","x":{"a":1,"a":2}}`,
		"nesting of 100":   `{"id":"o-7","x":` + strings.Repeat("[", 99) + strings.Repeat("]", 99) + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			p, err := event.Parse([]byte(body), nil)
			if err != nil {
				t.Fatal(err)
			}
			if p.ID != (event.PizzaID{Order: "o", Number: 7}) {
				t.Errorf("got pizza %v", p.ID)
			}
		})
	}
}

func TestParseRefusesWhatBreaksTheContract(t *testing.T) {
	many := make([]string, 20)
	for i := range many {
		many[i] = fmt.Sprintf(`"f%d":1`, i%19)
	}
	for name, body := range map[string]string{
		"empty":              ``,
		"not JSON":           `{"id":"o-7"`,
		"two values":         `{"id":"o-7"} {}`,
		"array":              `["o-7"]`,
		"string":             `"o-7"`,
		"null":               `null`,
		"byte order mark":    "\xef\xbb\xbf" + `{"id":"o-7"}`,
		"invalid UTF-8":      "{\"id\":\"o-7\",\"x\":\"\xff\"}",
		"no id":              `{"order_id":"o","number":7}`,
		"id a number":        `{"id":7}`,
		"id without number":  `{"id":"order"}`,
		"id number zero":     `{"id":"o-0"}`,
		"id leading zero":    `{"id":"o-07"}`,
		"id bad letters":     `{"id":"o_o-7"}`,
		"id too long":        `{"id":"` + strings.Repeat("o", 65) + `-7"}`,
		"order disagrees":    `{"id":"o-7","order_id":"p"}`,
		"order no string":    `{"id":"o-7","order_id":7}`,
		"number disagrees":   `{"id":"o-7","number":8}`,
		"number a string":    `{"id":"o-7","number":"7"}`,
		"number a fraction":  `{"id":"o-7","number":7.0}`,
		"number null":        `{"id":"o-7","number":null}`,
		"replay zero":        `{"id":"o-7","replay":0}`,
		"replay true":        `{"id":"o-7","replay":true}`,
		"same field twice":   `{"id":"o-7","sauce":"a","sauce":"b"}`,
		"twice, escaped":     `{"id":"o-7","\u0069d":"o-7"}`,
		"twice, many":        `{"id":"o-7",` + strings.Join(many, ",") + `}`,
		"sauce missing":      `{"id":"o-7","want":"sauce"}`,
		"sauce a number":     `{"id":"o-7","want":"sauce","sauce":1}`,
		"sauce empty":        `{"id":"o-7","want":"sauce","sauce":""}`,
		"sauce too long":     `{"id":"o-7","want":"sauce","sauce":"` + strings.Repeat("x", 201) + `"}`,
		"nesting beyond 100": `{"id":"o-7","x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			var want []string
			if strings.Contains(body, `"want":"sauce"`) {
				want = []string{"sauce"}
			}
			_, err := event.Parse([]byte(body), want)
			var broken *event.ContractError
			if !errors.As(err, &broken) {
				t.Fatalf("got %v, want a ContractError", err)
			}
		})
	}
}

func TestContractErrorDoesNotShowValues(t *testing.T) {
	_, err := event.Parse([]byte(`{"id":"o-7","order_id":"secret"}`), nil)
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

func TestWithKeepsEveryOtherByte(t *testing.T) {
	body := `{ "id" : "o-7", "big":12345678901234567890.10, "e":"\u00e9" }`
	p, err := event.Parse([]byte(body), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := string(p.With("cheese", `blue "A&B"`).Body())
	want := `{ "id" : "o-7", "big":12345678901234567890.10, "e":"\u00e9" ,"cheese":"blue \"A&B\""}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	again := string(p.With("cheese", "x").With("cheese", "feta").Body())
	if want := `{ "id" : "o-7", "big":12345678901234567890.10, "e":"\u00e9" ,"cheese":"feta"}`; again != want {
		t.Errorf("got  %s\nwant %s", again, want)
	}
	if string(p.Body()) != body {
		t.Error("With changed the pizza it was called on")
	}
}

// Any JSON object that carries an ID comes through an edit with the same values.
func TestEditsAgreeWithEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		obj := rapid.MapOf(rapid.String(), anyJSON(3)).Draw(t, "object")
		obj["id"] = "o-7"
		delete(obj, "order_id")
		delete(obj, "number")
		delete(obj, "replay")
		body, err := json.Marshal(obj)
		if err != nil {
			t.Fatal(err)
		}
		if rapid.Bool().Draw(t, "indent") {
			var buf bytes.Buffer
			if err := json.Indent(&buf, body, "", "\t"); err != nil {
				t.Fatal(err)
			}
			body = buf.Bytes()
		}
		p, err := event.Parse(body, nil)
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		name, value := rapid.String().Draw(t, "name"), rapid.String().Draw(t, "value")
		edited := p.With(name, value)
		want := decode(t, body)
		want[name] = value
		if got := decode(t, edited.Body()); !reflect.DeepEqual(got, want) {
			t.Fatalf("with %q: got %v, want %v", name, got, want)
		}
		if text, ok := edited.Field(name); !ok || text != value {
			t.Fatalf("field %q: got %q, %v", name, text, ok)
		}
		delete(want, name)
		if got := decode(t, edited.Without(name).Body()); !reflect.DeepEqual(got, want) {
			t.Fatalf("without %q: got %v, want %v", name, got, want)
		}
	})
}

func decode(t *rapid.T, body []byte) map[string]any {
	var v map[string]any
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return v
}

func anyJSON(depth int) *rapid.Generator[any] {
	leaves := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.Float64Range(-1e9, 1e9).AsAny(), rapid.String().AsAny(),
	}
	if depth > 0 {
		leaves = append(leaves,
			rapid.SliceOfN(anyJSON(depth-1), 0, 4).AsAny(),
			rapid.MapOfN(rapid.String(), anyJSON(depth-1), 0, 4).AsAny())
	}
	return rapid.OneOf(leaves...)
}

// Whatever arrives, Parse answers and never panics; what it accepts,
// encoding/json accepts too.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"id":"o-7","order_id":"o","number":7,"sauce":"pesto"}`))
	f.Add([]byte(`{"a\\":"b\"","id":"o-7","x":[{"y":"]"}]}`))
	f.Add([]byte("\xef\xbb\xbf{}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := event.Parse(body, []string{"sauce"})
		if err != nil {
			return
		}
		if !json.Valid(p.With("cheese", string(body)).Body()) {
			t.Errorf("edit of %q is not JSON", body)
		}
	})
}

func TestPickIsAFunctionOfPizzaAndStage(t *testing.T) {
	menu := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	counts := map[string]int{}
	const n = 80_000
	same := 0
	for i := 1; i <= n; i++ {
		p := event.New(event.PizzaID{Order: "01kaz7q4m2x8", Number: i}, 0)
		pick := p.Pick("sauce", menu)
		if pick != p.Pick("sauce", menu) {
			t.Fatal("picked twice, got two things")
		}
		if pick == p.Pick("cheese", menu) {
			same++
		}
		counts[pick]++
	}
	for dish, c := range counts {
		if c < n/8*9/10 || c > n/8*11/10 {
			t.Errorf("%s was picked %d times of %d, want about an eighth", dish, c, n)
		}
	}
	if same < n/8*9/10 || same > n/8*11/10 {
		t.Errorf("two stages agree on %d of %d, want about an eighth", same, n)
	}
}

// What bakes is part of the contract: it must never change by accident.
func TestPickIsPinned(t *testing.T) {
	p := event.New(event.PizzaID{Order: "01kaz7q4m2x8", Number: 7}, 0)
	menu := []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}
	got := p.Pick("sauce", menu) + p.Pick("cheese", menu) + p.Pick("meat", menu) + p.Pick("veggies", menu)
	if want := "9120"; got != want {
		t.Errorf("got %s, want %s: the same pizza ID now bakes another pizza", got, want)
	}
}

func BenchmarkParseAndAdd(b *testing.B) {
	body := []byte(`{"id":"01kaz7q4m2x8abcd-7","order_id":"01kaz7q4m2x8abcd","number":7,"sauce":"alfredo","cheese":"goat cheese","meat":"pepperoni"}`)
	want := []string{"sauce", "cheese", "meat"}
	b.ReportAllocs()
	for b.Loop() {
		p, err := event.Parse(body, want)
		if err != nil {
			b.Fatal(err)
		}
		_ = p.With("veggies", "basil").Body()
	}
}
