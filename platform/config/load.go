package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// DefaultFile is read, if it exists, where no file is named.
const DefaultFile = "config.toml"

// Source is where the configuration comes from.
type Source struct {
	File  string            // must exist if it is named; "" is DefaultFile if that exists
	Env   []string          // NAME=value, as from os.Environ
	Flags map[string]string // the flags of Flags that were given, by name
	Known Names
}

// Loaded is a configuration that knows where its values came from.
type Loaded struct {
	Config
	File string // the file that was read, or ""

	origin   map[string]string // "section.key" → place, as in Problem
	resolved map[string]string // "section.key" → what its value follows from
}

// Load reads and checks the configuration. The error is an *Error with every
// problem there is.
func Load(s Source) (Loaded, error) {
	l := &loader{
		source: s,
		loaded: Loaded{Config: defaults(), origin: make(map[string]string), resolved: make(map[string]string)},
		bad:    make(map[string]bool),
		lists:  make(map[string][]givenList),
	}
	l.readFile()
	l.readEnv()
	l.readFlags()
	l.resolve()
	l.checkRules()
	if len(l.problems) > 0 {
		return Loaded{}, &Error{Problems: l.problems}
	}
	return l.loaded, nil
}

// loader collects values and problems, from the source that counts least to
// the one that counts most.
type loader struct {
	source   Source
	loaded   Loaded
	bad      map[string]bool        // keys whose last value had a flaw: no rule looks at them
	lists    map[string][]givenList // every list that was given for a key, also those with a flaw
	problems []Problem
}

// givenList is a list as it was given in one place.
type givenList struct {
	items  []string
	place  string
	places map[int]string // of the items, in the file
}

func (l *loader) report(place, format string, args ...any) {
	l.problems = append(l.problems, Problem{Place: place, Text: fmt.Sprintf(format, args...)})
}

// set stores the items of a key or returns what is wrong with them.
func (l *loader) set(k key, items []string, place string) []flaw {
	flaws := k.set(&l.loaded.Config, items, l.source.Known)
	l.bad[k.String()] = len(flaws) > 0
	if k.kind == listKind {
		l.lists[k.String()] = append(l.lists[k.String()], givenList{items: items, place: place})
	}
	if len(flaws) == 0 {
		l.loaded.origin[k.String()] = place
	}
	return flaws
}

func (l *loader) readFile() {
	name := l.source.File
	if name == "" {
		name = DefaultFile
	}
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) && l.source.File == "" {
		return
	}
	if err != nil {
		l.report(name, "cannot read the configuration: %v", cause(err))
		return
	}
	l.loaded.File = name
	newFile(l, name, data).read()
}

func (l *loader) readFlags() {
	for _, k := range keys {
		given, ok := l.source.Flags[k.flag]
		if k.flag == "" || !ok {
			continue
		}
		place := "--" + k.flag
		for _, f := range l.set(k, k.items(given), place) {
			l.problems = append(l.problems, Problem{Place: place, Text: f.text, Usage: true})
		}
	}
}

// cause leaves out of an error of the file system what names the file.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// IsSet reports whether somebody set a key, "section.name": it is not the
// default, nor what follows from other keys.
func (l Loaded) IsSet(key string) bool { return l.origin[key] != "" }

// place returns where the value of a key came from, "" for the default.
func (l Loaded) place(key string) string { return l.origin[key] }

// isFlag reports whether a place is on the command line.
func isFlag(place string) bool { return strings.HasPrefix(place, "--") }

// keyNames returns the names of a section's keys.
func keyNames(section string) []string {
	var names []string
	for _, k := range keys {
		if k.section == section {
			names = append(names, k.name)
		}
	}
	return names
}

// secretNames returns the names of the keys that are shown nowhere.
func secretNames() []string {
	var names []string
	for _, k := range keys {
		if k.secret && !slices.Contains(names, k.name) {
			names = append(names, k.name)
		}
	}
	return names
}
