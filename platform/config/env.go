package config

import (
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

const (
	envPrefix = "PIZZAMILL_"
	// fileSuffix: the variable names a file that holds the secret.
	fileSuffix = "_FILE"
	// maxSecret bounds what is read of such a file, in bytes.
	maxSecret = 64 << 10
)

// serviceEnv matches what Kubernetes sets in every pod for a Service named
// pizzamill or pizzamill-<x>.
var serviceEnv = regexp.MustCompile(`^PIZZAMILL(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// readEnv reads the PIZZAMILL_ variables, sorted by name so that errors are too.
func (l *loader) readEnv() {
	env := make(map[string]string)
	for _, entry := range l.source.Env {
		name, given, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, envPrefix) {
			env[name] = given
		}
	}
	var names []string
	for name := range env {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		k, fromFile, ok := envKey(name)
		switch {
		case !ok && serviceEnv.MatchString(name):
		case !ok:
			l.unknownVariable(name)
		case fromFile:
			l.readSecretFile(k, name, env)
		default:
			l.setVariable(k, name, env[name])
		}
	}
}

// envKey returns the key that a variable sets.
func envKey(name string) (k key, fromFile, ok bool) {
	for _, k := range keys {
		if name == k.env() {
			return k, false, true
		}
		if k.secret && name == k.env()+fileSuffix {
			return k, true, true
		}
	}
	return key{}, false, false
}

func (l *loader) setVariable(k key, name, given string) {
	for _, f := range l.set(k, k.items(given), name) {
		l.report(name, "%s", f.text)
	}
}

// readSecretFile sets a secret from the file that a variable names. The path
// is not shown: it may be the secret itself, set under the wrong name.
func (l *loader) readSecretFile(k key, name string, env map[string]string) {
	l.bad[k.String()] = true
	if env[k.env()] != "" {
		l.report(name, "%s is set as well: set one of them", k.env())
		return
	}
	f, err := os.Open(env[name])
	if err != nil {
		l.report(name, "cannot open the file it names: %v", cause(err))
		return
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	secret := strings.TrimRight(string(data), "\r\n")
	switch {
	case err != nil:
		l.report(name, "cannot read the file it names: %v", cause(err))
	case len(data) > maxSecret:
		l.report(name, "the file it names has more than %d bytes", maxSecret)
	case secret == "":
		l.report(name, "the file it names is empty")
	default:
		l.setVariable(k, name, secret)
	}
}

func (l *loader) unknownVariable(name string) {
	var valid []string // without the prefix, which all share and nobody mistypes
	for _, k := range keys {
		valid = append(valid, strings.TrimPrefix(k.env(), envPrefix))
		if k.secret {
			valid = append(valid, strings.TrimPrefix(k.env(), envPrefix)+fileSuffix)
		}
	}
	if near, ok := Nearest(strings.TrimPrefix(name, envPrefix), valid); ok {
		l.report(name, "unknown variable: did you mean %s?", envPrefix+near)
		return
	}
	l.report(name, `unknown variable: "pizzamill config default" has every key, [section] key is PIZZAMILL_SECTION_KEY`)
}
