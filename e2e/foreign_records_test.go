package e2e

import (
	"fmt"
	"slices"
	"strings"
)

// record is one that a client from outside sends, and what must become of it:
// one dead letter.
type record struct {
	name    string // of the case; unless bare, its header "case" says it
	topic   string
	key     *string
	headers []header
	body    []byte // nil: no value, where the broker knows such
	bare    bool   // it has no headers at all

	letter  string         // the module whose dead letter it becomes; "": any
	pizza   string         // the letter's pizza; "": none
	inherit bool           // the letter is of a later event: other headers, key and body
	cut     bool           // the bus takes no letter with all of the body
	text    map[string]any // header → how the letter has it, where that is not as it was
}

// header is a header of a record. On Kafka the value is text or bytes.
type header struct {
	name  string
	value any
}

// lineTopics are the topics of the default pipeline, each with who reads it
// beside the journal.
var lineTopics = []struct{ topic, reader string }{
	{"pizza", "sauce"},
	{"pizza-with-sauce", "cheese"},
	{"pizza-with-cheese", "meat"},
	{"pizza-with-meat", "veggies"},
	{"pizza-with-veggies", "pizza"},
}

// deadLetters is the topic that modules send what failed to.
const deadLetters = "pizza-dead-letters"

// maker makes records under IDs that nobody else has.
type maker struct {
	topic string
	at    int // of the topic in the pipeline, -1: not in it
	n     int // IDs made
}

// id returns another ID of a pizza that nobody ordered.
func (m *maker) id() string {
	m.n++
	return fmt.Sprintf("alien%d-%d", m.at, m.n)
}

// made are the fields of the stages before the topic, with a comma before each.
func (m *maker) made(except string) string {
	fields := ""
	for _, stage := range pipeline[:max(0, m.at)] {
		if stage != except {
			fields += fmt.Sprintf(`,%q:"%s from elsewhere"`, stage, stage)
		}
	}
	return fields
}

// broken returns a record whose body breaks the contract.
func (m *maker) broken(name, pizza, body string) record {
	r := record{name: m.topic + ": " + name, topic: m.topic, key: new("key of " + name), body: []byte(body), pizza: pizza}
	if m.at >= 0 {
		r.letter = lineTopics[m.at].reader
	}
	return r
}

// records returns a record of every bad kind for a topic.
func (m *maker) records() []record {
	nest := func(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }
	unreadable := map[string]string{
		"not JSON":              "no pizza at all",
		"cut off":               `{"id":"` + m.id() + `"`,
		"two values":            `{"id":"` + m.id() + `"` + m.made("") + `} {}`,
		"an array":              `["` + m.id() + `"]`,
		"a string":              `"` + m.id() + `"`,
		"a number":              `42`,
		"null":                  `null`,
		"an empty object":       `{}`,
		"without ID":            `{"number":1` + m.made("") + `}`,
		"an empty ID":           `{"id":""` + m.made("") + `}`,
		"an ID of nothing":      `{"id":"nobody"` + m.made("") + `}`,
		"an ID with number 0":   `{"id":"alien-0"` + m.made("") + `}`,
		"an ID with 01":         `{"id":"alien-01"` + m.made("") + `}`,
		"an ID of odd letters":  `{"id":"älien-1"` + m.made("") + `}`,
		"an ID that is number":  `{"id":7` + m.made("") + `}`,
		"order_id disagrees":    `{"id":"` + m.id() + `","order_id":"other"` + m.made("") + `}`,
		"order_id is no string": `{"id":"` + m.id() + `","order_id":7` + m.made("") + `}`,
		"number disagrees":      `{"id":"` + m.id() + `","number":99` + m.made("") + `}`,
		"number is text":        `{"id":"alien-7","number":"7"` + m.made("") + `}`,
		"number is 7.0":         `{"id":"alien-7","number":7.0` + m.made("") + `}`,
		"replay is text":        `{"id":"` + m.id() + `","replay":"1"` + m.made("") + `}`,
		"replay is 0":           `{"id":"` + m.id() + `","replay":0` + m.made("") + `}`,
		"a name twice":          `{"id":"` + m.id() + `","note":1,"note":1` + m.made("") + `}`,
		"a name twice, escaped": `{"id":"` + m.id() + `","note":1,"n\u006fte":1` + m.made("") + `}`,
		"a byte order mark":     "\ufeff" + `{"id":"` + m.id() + `"` + m.made("") + `}`,
		"invalid UTF-8":         `{"id":"` + m.id() + `","note":"` + "\xff" + `"` + m.made("") + `}`,
		"nests too deep":        `{"id":"` + m.id() + `","note":` + nest(100) + m.made("") + `}`,
		"nests far too deep":    `{"id":"` + m.id() + `","note":` + nest(20_000) + m.made("") + `}`,
	}
	records := []record{}
	for name, body := range unreadable {
		records = append(records, m.broken(name, "", body))
	}
	empty := m.broken("an empty body", "", "")
	bare := m.broken("nothing but a body", "", "a body and nothing else, on "+m.topic)
	bare.bare, bare.key = true, nil
	records = append(records, empty, bare)
	if m.at > 0 {
		records = append(records, m.wrongFields()...)
	}
	slices.SortFunc(records, func(a, b record) int { return strings.Compare(a.name, b.name) })
	return records
}

// wrongFields returns records in which a field of an earlier stage is wrong. Their
// pizzas can be told.
func (m *maker) wrongFields() []record {
	var records []record
	for name, field := range map[string]string{
		"missing":  "",
		"a number": `,"%":5`,
		"null":     `,"%":null`,
		"an array": `,"%":["much"]`,
		"empty":    `,"%":""`,
		"too long": `,"%":"` + strings.Repeat("l", 201) + `"`,
	} {
		for _, stage := range []string{pipeline[0], pipeline[m.at-1]} {
			id := m.id()
			field := strings.ReplaceAll(field, "%", stage)
			records = append(records, m.broken(stage+" is "+name, id, `{"id":"`+id+`"`+m.made(stage)+field+`}`))
			if m.at == 1 {
				break
			}
		}
	}
	return records
}

// nobodys returns a pizza that breaks no contract and that nobody ordered, with
// something else in its body. It is a dead letter of pizza, at the end.
func (m *maker) nobodys(name, more string) record {
	id := m.id()
	r := m.broken(name, id, `{"id":"`+id+`"`+m.made("")+more+`}`)
	r.letter, r.inherit = "pizza", m.topic != lineTopics[len(lineTopics)-1].topic
	return r
}

// allRecords returns the records of every bad kind for all topics, on any bus.
func allRecords() []record {
	var records []record
	for i, t := range lineTopics {
		m := &maker{topic: t.topic, at: i}
		records = append(records, m.records()...)
		records = append(records,
			m.nobodys("a pizza that nobody ordered", `,"note":{"from":["elsewhere",1.50]}`),
			m.nobodys("nests as deep as it may", `,"note":`+strings.Repeat("[", 99)+strings.Repeat("]", 99)),
			m.nobodys("900 KiB", `,"note":"`+strings.Repeat("n", 900<<10)+`"`))
	}
	m := &maker{topic: deadLetters, at: -1}
	records = append(records, m.records()...)
	id := m.id()
	forged := m.broken("a letter that nobody wrote", id, `{"id":"`+id+`"}`)
	forged.headers = []header{
		{"dead-letter-topic", "no/such topic"}, {"dead-letter-module", "nobody"}, {"dead-letter-kind", "odd"},
		{"dead-letter-attempts", "-5"}, {"dead-letter-requeues", "many"}, {"dead-letter-offset", "x"}, {"dead-letter-first-failed-at", "soon"},
	}
	return append(records, forged)
}
