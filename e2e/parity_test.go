package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// shape is a way to spread the modules over processes: a row of the table.
type shape struct {
	name      string
	processes []string // --modules of each; with Python, one more has the cheese
	python    bool     // the cheese comes from Python
	// blind stages are told of no database: the processes that run no module of
	// the ledger get none of its settings.
	blind bool
}

// The modules that have the ledger, as one process runs them with SQLite.
const ledgerModules = "pizza,journal,deadletter,ui"

var shapes = []shape{
	{name: "everything in one process", processes: []string{"all"}},
	{name: "two processes of everything", processes: []string{"all", "all"}},
	{name: "the ledger's modules together, each stage apart", processes: []string{ledgerModules, "sauce", "cheese", "meat", "veggies"}},
	{
		name:      "two processes of each stage",
		processes: []string{ledgerModules, "sauce", "cheese", "meat", "veggies", "sauce", "cheese", "meat", "veggies"},
	},
	{name: "one module a process", processes: []string{"pizza", "journal", "deadletter", "ui", "sauce", "cheese", "meat", "veggies"}},
	{name: "stages that are told of no database", processes: []string{ledgerModules, "sauce,cheese", "meat,veggies"}, blind: true},
	{name: "cheese made in Python", processes: []string{ledgerModules, "sauce", "meat", "veggies"}, python: true},
}

// backing is what the processes share: a column of the table.
type backing struct{ bus, store string }

func (b backing) String() string { return b.bus + ", " + b.store }

var backings = []backing{
	{"gochannel", "sqlite"}, {"gochannel", "postgres"},
	{"kafka", "sqlite"}, {"kafka", "postgres"},
	{"amqp", "sqlite"}, {"amqp", "postgres"},
}

// Why a cell is not one: footnotes of the table.
const (
	inOneMemory  = "GoChannel is the memory of one process: a part of the modules, and a second process on the ledger, are refused (tested: TestRefusedShapes)."
	oneFile      = "A SQLite file has one process, which runs all modules of the ledger that run; a second one is refused (tested: TestRefusedShapes)."
	noneToAccess = "With SQLite no stage knows a database: it is the row of stages apart."
)

var footnotes = []string{inOneMemory, oneFile, noneToAccess}

// excluded says why a shape makes no sense on a backing, "" if it does.
func (s shape) excluded(b backing) string {
	ledgers := 0
	for _, modules := range s.processes {
		if modules == "all" || slices.ContainsFunc(strings.Split(modules, ","), func(m string) bool {
			return strings.Contains(ledgerModules, m)
		}) {
			ledgers++
		}
	}
	switch {
	case b.bus == "gochannel" && (len(s.processes) > 1 || s.python):
		return inOneMemory
	case b.store == "sqlite" && ledgers > 1:
		return oneFile
	case b.store == "sqlite" && s.blind:
		return noneToAccess
	}
	return ""
}

// short reports whether the cell is in a run that is not full: a taste of each
// server.
func (s shape) short(b backing) bool {
	switch b {
	case backing{"gochannel", "sqlite"}:
		return true
	case backing{"kafka", "sqlite"}, backing{"amqp", "postgres"}:
		return s.blind || s.name == shapes[2].name
	}
	return false
}

// parity collects the cells that passed. It is safe for concurrent use.
type parity struct {
	mu     sync.Mutex
	passed map[string]bool // shape and backing
}

func (p *parity) pass(s shape, b backing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.passed[s.name+b.String()] = true
}

// table returns the table and its footnotes, and false if a cell did not pass.
func (p *parity) table() (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	complete := true
	var out strings.Builder
	out.WriteString("| |")
	for _, b := range backings {
		fmt.Fprintf(&out, " %s |", b)
	}
	out.WriteString("\n|---|" + strings.Repeat("---|", len(backings)) + "\n")
	for _, s := range shapes {
		fmt.Fprintf(&out, "| %s |", s.name)
		for _, b := range backings {
			switch why := s.excluded(b); {
			case why != "":
				fmt.Fprintf(&out, " n/a [^%d] |", 1+slices.Index(footnotes, why))
			case p.passed[s.name+b.String()]:
				out.WriteString(" ok |")
			default:
				complete = false
			}
		}
		out.WriteString("\n")
	}
	for i, note := range footnotes {
		fmt.Fprintf(&out, "\n[^%d]: %s", i+1, note)
	}
	out.WriteString("\n")
	return out.String(), complete
}

// tableBegins is the line of the page behind which the table stands.
const tableBegins = "<!-- from here on written by the tests -->\n"

// write writes the table into the page if every cell passed in this run, and
// only then.
func (p *parity) write(t *testing.T, path string) {
	t.Helper()
	table, complete := p.table()
	if !complete {
		t.Logf("%s stays as it is: not every cell ran and passed", path)
		return
	}
	intro, _, found := strings.Cut(readFile(path), tableBegins)
	if !found {
		t.Fatalf("%s has no line %q", path, tableBegins)
	}
	if err := os.WriteFile(path, []byte(intro+tableBegins+"\n"+table), 0o644); err != nil {
		t.Fatal(err)
	}
}
