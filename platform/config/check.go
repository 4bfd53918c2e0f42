package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pizzamill/pizzamill/platform/event"
)

// Names are the modules that exist. The zero value knows none, and then any
// name passes.
type Names struct {
	Modules []string // all, the stages included
	Stages  []string
}

func isRange(err error) bool { return errors.Is(err, strconv.ErrRange) }

func checkModules(items []string, known Names) []flaw {
	if len(items) == 0 {
		return []flaw{{-1, "the list is empty: want all, or names of modules"}}
	}
	if known.Modules == nil {
		return nil
	}
	var flaws []flaw
	valid := append([]string{allModules}, known.Modules...)
	for i, m := range items {
		if !slices.Contains(valid, m) {
			flaws = append(flaws, flaw{i, fmt.Sprintf("unknown module %q%s valid are: %s", m, nearMiss(m, valid), strings.Join(valid, ", "))})
		}
	}
	return flaws
}

func checkStages(items []string, known Names) []flaw {
	if len(items) == 0 {
		return []flaw{{-1, "the list is empty: a pipeline needs at least one stage"}}
	}
	var flaws []flaw
	for i, s := range items {
		switch {
		case known.Stages != nil && !slices.Contains(known.Stages, s):
			flaws = append(flaws, flaw{i, fmt.Sprintf("unknown stage %q%s this build has: %s", s, nearMiss(s, known.Stages), strings.Join(known.Stages, ", "))})
		case event.CheckStageName(s) != nil:
			flaws = append(flaws, flaw{i, event.CheckStageName(s).Error()})
		case slices.Contains(items[:i], s):
			flaws = append(flaws, flaw{i, fmt.Sprintf("stage %q is listed twice", s)})
		}
	}
	return flaws
}

// prefixForm is what Kafka allows in the name of a topic; a prefix leaves room
// for the name itself.
var prefixForm = regexp.MustCompile(`^[A-Za-z0-9._-]{0,64}$`)

func checkPrefix(s string) error {
	if !prefixForm.MatchString(s) {
		return fmt.Errorf("%q: want at most 64 of A-Z, a-z, 0-9, dot, dash and underscore", s)
	}
	return nil
}

func checkPath(s string) error {
	if s == "" || strings.ContainsRune(s, 0) {
		return fmt.Errorf("%q is no path of a file", s)
	}
	return nil
}

func checkListen(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil || strings.ContainsAny(host, " /") {
		return fmt.Errorf("%q is no address: want host:port, such as 127.0.0.1:8080 or :8080", s)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q: the port is out of range: want 0 (any free one) to 65535", s)
	}
	return nil
}

// checkToken never says what the token is. A token has to fit into a header,
// and a space in it would be lost somewhere on the way.
func checkToken(s string) error {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return errors.New("the token is malformed: want visible ASCII characters without spaces (its value is not shown)")
		}
	}
	return nil
}

// isLoopback reports whether a listener at addr can be reached from this
// machine alone. A name other than localhost may resolve to anything.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
