package config

import (
	"fmt"
	"slices"
	"strings"
)

// checkModules leaves it to the rules whether a module exists: what someone
// else runs is told apart from what nobody does.
func checkModules(items []string, _ Names) []flaw {
	if len(items) == 0 {
		return []flaw{{-1, "the list is empty: want all, or names of modules"}}
	}
	var flaws []flaw
	for i, m := range items {
		if m != "" && slices.Contains(items[:i], m) {
			flaws = append(flaws, flaw{i, fmt.Sprintf("module %q is listed twice", m)})
		}
	}
	return flaws
}

// checkModuleNames wants every name to be a module that this process can run.
func (l *loader) checkModuleNames() {
	known := l.source.Known
	if known.Modules == nil {
		return
	}
	valid := append([]string{allModules}, known.Modules...)
	stages := l.loaded.Pipeline.Stages
	l.eachItem("app.modules", func(m string) string {
		switch {
		case m != allModules && l.isGiven("pipeline.external", m):
			return fmt.Sprintf("stage %q is external: someone else runs it; take it out of [pipeline] external to run one that is built in", m)
		case !slices.Contains(valid, m):
			return fmt.Sprintf("unknown module %q%s valid are: %s", m, nearMiss(m, valid), strings.Join(valid, ", "))
		case slices.Contains(known.Stages, m) && l.sound("pipeline.stages") && !slices.Contains(stages, m):
			return fmt.Sprintf("stage %q is not in the pipeline: its stages are %s; add it to [pipeline] stages", m, strings.Join(stages, ", "))
		default:
			return ""
		}
	})
}

// checkSelection wants the selected modules to meet those of other processes.
func (l *loader) checkSelection() {
	if !l.sound("app.modules", "pipeline.stages", "pipeline.external", "bus.driver") || l.source.Known.Modules == nil {
		return
	}
	var text string
	switch {
	case !l.loaded.OnBroker() && !l.selectsAll(l.needed()):
		text = l.partOfModules()
	case l.loaded.OnBroker() && l.sound("store.driver") && l.loaded.Store.Driver == sqlite &&
		l.usesLedger() && !l.selectsAll(l.source.Known.Writers):
		text = l.partOfLedger()
	default:
		return
	}
	place := l.placeOf("app.modules")
	l.problems = append(l.problems, Problem{Place: place, Usage: isFlag(place), Text: text})
}

func (l *loader) selectsAll(modules []string) bool {
	return !slices.ContainsFunc(modules, func(m string) bool { return !l.loaded.Selects(m) })
}

// needed returns the modules that a whole line consists of, but for external
// stages; those of it stand in the order of the pipeline.
func (l *loader) needed() []string {
	var modules []string
	for _, m := range l.source.Known.Modules {
		if !slices.Contains(l.source.Known.Stages, m) {
			modules = append(modules, m)
		}
	}
	for _, s := range l.loaded.Pipeline.Stages {
		if !l.loaded.IsExternal(s) {
			modules = append(modules, s)
		}
	}
	return modules
}

// partOfModules says why a part of the modules cannot run on gochannel, with
// the commands that work, whatever the store is.
func (l *loader) partOfModules() string {
	var b strings.Builder
	fmt.Fprintf(&b, `%s is a part of the modules, and messages on gochannel do not leave the process.
    What works on gochannel is all modules in one process:
      pizzamill serve --modules all --bus gochannel%s
    Split, with Kafka to carry the messages (or RabbitMQ: --bus amqp), each in a terminal of its own:`,
		strings.Join(l.loaded.App.Modules, ","), l.otherFlags())
	ledger := slices.Clone(l.source.Known.Ledger)
	mine := slices.Clone(l.loaded.App.Modules)
	if l.usesLedger() {
		mine = slices.Concat(ledger, slices.DeleteFunc(mine, func(m string) bool { return slices.Contains(ledger, m) }))
	} else if len(ledger) > 0 {
		l.command(&b, ledger, "")
	}
	l.command(&b, mine, l.otherFlags())
	rest := slices.DeleteFunc(l.needed(), func(m string) bool { return slices.Contains(mine, m) || slices.Contains(ledger, m) })
	if len(rest) > 0 {
		l.command(&b, rest, "")
	}
	return b.String()
}

// command adds the command that runs modules on a broker. What a process of its
// own was told goes to that one alone.
func (l *loader) command(b *strings.Builder, modules []string, own string) {
	if own == "" && l.source.File != "" {
		own = " --config " + ShellQuote(l.source.File)
	}
	fmt.Fprintf(b, "\n      pizzamill serve --modules %s --bus %s%s", ShellQuote(strings.Join(modules, ",")), l.broker(), own)
}

// broker is the configured one, or the one to propose.
func (l *loader) broker() string {
	if l.loaded.OnBroker() {
		return l.loaded.Bus.Driver
	}
	return kafka
}

// partOfLedger says why, with SQLite, the modules that use the ledger run in
// one process, with the commands that work.
func (l *loader) partOfLedger() string {
	isLedger := func(m string) bool { return slices.Contains(l.source.Known.Ledger, m) }
	var others, missing []string
	for _, m := range l.loaded.App.Modules {
		if !isLedger(m) {
			others = append(others, m)
		}
	}
	for _, m := range l.source.Known.Writers {
		if !l.loaded.Selects(m) {
			missing = append(missing, m)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `%s without %s: the ledger is in SQLite, which one process has at a time, so the modules that use it run together.
    What works with SQLite:`, strings.Join(l.loaded.App.Modules, ","), strings.Join(missing, " and "))
	l.command(&b, append(slices.Clone(l.source.Known.Ledger), others...), l.otherFlags())
	fmt.Fprintf(&b, `
    PostgreSQL lets every module have a process of its own (PIZZAMILL_STORE_DSN says where it is):
      PIZZAMILL_STORE_DRIVER=postgres pizzamill serve --modules %s --bus %s%s`,
		ShellQuote(strings.Join(l.loaded.App.Modules, ",")), l.broker(), l.otherFlags())
	return b.String()
}

// otherFlags returns what was given on the command line besides modules and bus.
func (l *loader) otherFlags() string {
	var b strings.Builder
	if l.source.File != "" {
		b.WriteString(" --config " + ShellQuote(l.source.File))
	}
	for _, f := range Flags() {
		given, ok := l.source.Flags[f.Name]
		if ok && f.Name != "modules" && f.Name != "bus" {
			b.WriteString(" --" + f.Name + " " + ShellQuote(given))
		}
	}
	return b.String()
}

// ShellQuote writes an argument as a shell takes it.
func ShellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:,@%+=", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
