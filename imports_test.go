package main_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "github.com/pizzamill/pizzamill"

	// A file and a function that a reader takes in at one go. The tests fail a
	// little above, so that nobody cuts a thought in two for the sake of a line.
	maxFileLines     = 450
	maxFunctionLines = 80
)

// adapters are the packages that know a broker or a database. Only the assembly
// imports them.
var adapters = []string{
	"platform/bus/gochannel", "platform/bus/kafka", "platform/bus/amqp",
	"platform/store/sqlite", "platform/store/postgres", "platform/idempotency/postgres",
}

const assembly = "platform/app"

// forbidden says why a package of the module must not import another one of
// it, or nothing. Both are paths inside the module, "" for its root.
func forbidden(from, to string) string {
	switch {
	case within(from, "platform") && within(to, "modules"):
		return "platform must not know modules"
	case within(from, "platform") && within(to, "ui"):
		return "platform must not know the pages"
	case isModule(from) && within(to, "modules"):
		return "a module must not know another one"
	case within(from, "modules") && within(to, "ui"):
		return "a module must not know the pages"
	case within(from, "ui") && within(to, "modules"):
		return "the pages meet modules only through the ledger and the bus"
	case slices.ContainsFunc(adapters, func(a string) bool { return within(to, a) && !within(from, a) }) && from != assembly:
		return "only " + assembly + " may know an adapter"
	case (within(from, "modules") || within(from, "ui")) && within(to, assembly):
		return "the assembly knows modules, not the other way round"
	case within(to, "internal") && !within(from, "internal"):
		return "what finds services for tests is for tests"
	case to == "":
		return "nothing may import the command"
	default:
		return ""
	}
}

// isModule is false for the list of modules, which is there to import them all.
func isModule(pkg string) bool { return strings.HasPrefix(pkg, "modules/") }

func within(pkg, folder string) bool { return pkg == folder || strings.HasPrefix(pkg, folder+"/") }

// violations holds the imports of packages against the rules.
func violations(imports map[string][]string) []string {
	var found []string
	for _, from := range slices.Sorted(maps.Keys(imports)) {
		for _, to := range imports[from] {
			if why := forbidden(from, to); why != "" {
				found = append(found, fmt.Sprintf("%s imports %s: %s", from, to, why))
			}
		}
	}
	return found
}

// source is a Go file of the product: no test, and not generated.
type source struct {
	path string
	file *ast.File
	fset *token.FileSet
}

// sources parses the product. Tests may import what they like, and be as long
// as the cases they list.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("parse %s: %w", name, err)
		}
		all = append(all, source{path: filepath.ToSlash(name), file: file, fset: fset})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("found %d files: this looked in the wrong place", len(all))
	}
	return all
}

// importsOf returns what each package imports from the module.
func importsOf(all []source) map[string][]string {
	imports := map[string][]string{}
	for _, s := range all {
		pkg := path.Dir(s.path)
		if pkg == "." {
			pkg = ""
		}
		for _, i := range s.file.Imports {
			name, _ := strconv.Unquote(i.Path.Value)
			if within(name, module) && !slices.Contains(imports[pkg], name) {
				imports[pkg] = append(imports[pkg], strings.TrimPrefix(strings.TrimPrefix(name, module), "/"))
			}
		}
	}
	return imports
}

// TestImports holds the product to the rules of its layout.
func TestImports(t *testing.T) {
	imports := importsOf(sources(t))
	for _, v := range violations(imports) {
		t.Error(v)
	}
	for _, adapter := range adapters {
		if !slices.Contains(imports[assembly], adapter) {
			t.Errorf("%s does not import %s: the list of adapters in this test is out of date", assembly, adapter)
		}
	}
}

// TestImportRules proves the rules on imports that nobody may have, and on those
// that everybody has.
func TestImportRules(t *testing.T) {
	for _, c := range []struct {
		from, to string
		allowed  bool
	}{
		{"modules/sauce", "platform/stage", true},
		{"modules/pizza", "platform/store", true},
		{"modules", "modules/sauce", true},
		{"ui", "platform/store", true},
		{"ui", "ui/static", true},
		{"", "modules", true},
		{"", "ui", true},
		{"", "platform/cli", true},
		{"platform/app", "platform/store/sqlite", true},
		{"platform/app", "platform/bus/gochannel", true},
		{"platform/store/sqlite", "platform/store", true},
		{"platform/store/sqlite/migrations", "platform/store/sqlite", true},
		{"modules/sauce", "modules/cheese", false},
		{"modules/sauce", "modules", false},
		{"modules/sauce/deep", "modules/sauce/other", false},
		{"modules/pizza", "platform/store/sqlite", false},
		{"modules/journal", "platform/bus/gochannel", false},
		{"modules/journal", "ui", false},
		{"modules/pizza", "platform/app", false},
		{"modules", "ui", false},
		{"platform/event", "modules/sauce", false},
		{"platform/app", "modules", false},
		{"platform/app", "ui", false},
		{"platform/cli", "ui/static", false},
		{"platform/cli", "platform/store/sqlite", false},
		{"platform/store", "platform/store/sqlite", false},
		{"ui", "modules/pizza", false},
		{"ui", "modules", false},
		{"ui", "platform/store/sqlite", false},
		{"ui", "platform/app", false},
		{"", "platform/store/sqlite", false},
		{"platform/cli", "", false},
	} {
		found := violations(map[string][]string{c.from: {c.to}})
		if (len(found) == 0) != c.allowed {
			t.Errorf("%q imports %q: allowed %v, want %v %v", c.from, c.to, len(found) == 0, c.allowed, found)
		}
	}
}

// TestMap wants every file that the map of the code and the README name to exist.
func TestMap(t *testing.T) {
	for doc, named := range map[string]*regexp.Regexp{
		"platform/doc.go": regexp.MustCompile(`\b((?:modules|platform)/[a-z/]+\.go)\b`),
		"README.md":       regexp.MustCompile(`\]\(([^):]+)\)`),
	} {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		found := named.FindAllStringSubmatch(string(text), -1)
		if len(found) < 6 {
			t.Errorf("%s names %d files: this looked for the wrong thing", doc, len(found))
		}
		for _, f := range found {
			if _, err := os.Stat(f[1]); err != nil {
				t.Errorf("%s names %s: %v", doc, f[1], err)
			}
		}
	}
}

// long returns what of a file is longer than a reader likes.
func long(s source) []string {
	if ast.IsGenerated(s.file) {
		return nil
	}
	var found []string
	line := func(p token.Pos) int { return s.fset.Position(p).Line }
	if n := line(s.file.FileEnd); n > maxFileLines {
		found = append(found, fmt.Sprintf("%s has %d lines, more than %d", s.path, n, maxFileLines))
	}
	for _, d := range s.file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if n := line(f.End()) - line(f.Pos()) + 1; n > maxFunctionLines {
			found = append(found, fmt.Sprintf("%s: %s has %d lines, more than %d", s.path, f.Name.Name, n, maxFunctionLines))
		}
	}
	return found
}

// TestLengths keeps files and functions short.
func TestLengths(t *testing.T) {
	for _, s := range sources(t) {
		for _, f := range long(s) {
			t.Error(f)
		}
	}
}

// TestLengthRules proves that on a file that is too long.
func TestLengthRules(t *testing.T) {
	parse := func(text string) source {
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, "x.go", text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		return source{path: "x.go", file: file, fset: fset}
	}
	function := "package x\n\nfunc f() {\n" + strings.Repeat("\tf()\n", maxFunctionLines) + "}\n"
	file := "package x\n" + strings.Repeat("\nvar _ = 1\n", maxFileLines/2+1)
	for name, c := range map[string]struct {
		text string
		want int
	}{
		"function":  {function, 1},
		"file":      {file, 1},
		"generated": {"// Code generated by hand DO NOT EDIT.\n\n" + function, 0},
		"short":     {"package x\n\nfunc f() {}\n", 0},
	} {
		if found := long(parse(c.text)); len(found) != c.want {
			t.Errorf("%s: found %v, want %d", name, found, c.want)
		}
	}
}
