package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// checkRules checks what follows from several keys together. A key that has a
// flaw already is left alone, so that one slip is one problem.
func (l *loader) checkRules() {
	c := &l.loaded.Config
	if l.sound("admin.listen", "admin.token") && c.Admin.Token == "" && !isLoopback(c.Admin.Listen) {
		l.report(l.placeOf("admin.listen"),
			"admin.listen = %q is no loopback address and there is no admin.token: set PIZZAMILL_ADMIN_TOKEN (or PIZZAMILL_ADMIN_TOKEN_FILE), or listen on 127.0.0.1",
			c.Admin.Listen)
	}
	if l.sound("http.listen", "admin.listen") && c.HTTP.Listen == c.Admin.Listen && !strings.HasSuffix(c.HTTP.Listen, ":0") {
		l.report(l.placeOf("admin.listen", "http.listen"), "http.listen and admin.listen are both %q: want two addresses", c.HTTP.Listen)
	}
	if l.sound("retry.initial_interval", "retry.max_interval") && c.Retry.InitialInterval > c.Retry.MaxInterval {
		l.report(l.placeOf("retry.initial_interval", "retry.max_interval"),
			"retry.initial_interval (%s) is above retry.max_interval (%s)",
			formatDuration(c.Retry.InitialInterval), formatDuration(c.Retry.MaxInterval))
	}
	l.checkFaults("faults.fail", slices.Sorted(maps.Keys(c.Faults.Fail)))
	l.checkFaults("faults.panic", slices.Sorted(maps.Keys(c.Faults.Panic)))
	l.checkFaults("faults.flaky", slices.Sorted(maps.Keys(c.Faults.Flaky)))
	l.checkFaults("faults.delay", slices.Sorted(maps.Keys(c.Faults.Delay)))
	l.checkSelection()
}

// sound reports whether the keys have values worth looking at.
func (l *loader) sound(keys ...string) bool {
	return !slices.ContainsFunc(keys, func(k string) bool { return l.bad[k] })
}

// placeOf returns the place of the first of the keys that somebody set.
func (l *loader) placeOf(keys ...string) string {
	for _, k := range keys {
		if p := l.loaded.place(k); p != "" {
			return p
		}
	}
	return strings.Join(keys, ", ")
}

func (l *loader) checkFaults(key string, stages []string) {
	if !l.sound(key, "pipeline.stages") {
		return
	}
	for _, s := range stages {
		if !slices.Contains(l.loaded.Pipeline.Stages, s) {
			l.report(l.placeOf(key), "%s: stage %q is not in the pipeline%s its stages are: %s",
				key, s, nearMiss(s, l.loaded.Pipeline.Stages), strings.Join(l.loaded.Pipeline.Stages, ", "))
		}
	}
}

// checkSelection checks app.modules against the pipeline and the bus.
func (l *loader) checkSelection() {
	if !l.sound("app.modules", "pipeline.stages", "bus.driver") || l.source.Known.Modules == nil {
		return
	}
	place := l.placeOf("app.modules", "pipeline.stages")
	var outside, missing bool
	for _, m := range l.source.Known.Modules {
		named := slices.Contains(l.loaded.App.Modules, m)
		unused := slices.Contains(l.source.Known.Stages, m) && !slices.Contains(l.loaded.Pipeline.Stages, m)
		if unused && named {
			outside = true
			l.problems = append(l.problems, Problem{Place: place, Usage: isFlag(place), Text: fmt.Sprintf(
				"stage %q is not in the pipeline: its stages are %s; add it to [pipeline] stages",
				m, strings.Join(l.loaded.Pipeline.Stages, ", "))})
		}
		missing = missing || !unused && !l.loaded.Selects(m)
	}
	if missing && !outside && l.loaded.Bus.Driver == "gochannel" {
		l.problems = append(l.problems, Problem{Place: place, Usage: isFlag(place), Text: l.partOfModules()})
	}
}

// partOfModules says why a part of the modules cannot run on gochannel, with
// the commands that work.
func (l *loader) partOfModules() string {
	part := strings.Join(l.loaded.App.Modules, ",")
	rest := l.otherFlags()
	return fmt.Sprintf(`%s is a part of the modules, and messages on gochannel do not leave the process.
    What works here is all modules in one process:
      pizzamill serve --bus gochannel --modules all%s
    To split them takes a broker, and this version has none yet (it has: %s). With Kafka it would be:
      pizzamill serve --modules %s --bus kafka%s`,
		part, rest, strings.Join(busDrivers, ", "), part, rest)
}

// otherFlags returns what was given on the command line besides modules and bus.
func (l *loader) otherFlags() string {
	var b strings.Builder
	if l.source.File != "" {
		b.WriteString(" --config " + shellQuote(l.source.File))
	}
	for _, f := range Flags() {
		given, ok := l.source.Flags[f.Name]
		if ok && f.Name != "modules" && f.Name != "bus" {
			b.WriteString(" --" + f.Name + " " + shellQuote(given))
		}
	}
	return b.String()
}

// shellQuote writes an argument as a shell takes it.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:,@%+=", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
