package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/pizzamill/pizzamill/platform/event"
	"github.com/pizzamill/pizzamill/platform/pg"
)

// Names are the modules that exist. The zero value knows none, and then any
// name passes.
type Names struct {
	Modules []string // all, the stages included
	Stages  []string
	// Ledger are those that use the ledger.
	Ledger []string
	// Writers are those of Ledger that consume topics: where a file holds the
	// ledger, no process has one of them without the others.
	Writers []string
}

func isRange(err error) bool { return errors.Is(err, strconv.ErrRange) }

// checkStages leaves it to the rules whether a stage exists: those that someone
// else runs need not.
func checkStages(items []string, _ Names) []flaw {
	if len(items) == 0 {
		return []flaw{{-1, "the list is empty: a pipeline needs at least one stage"}}
	}
	return checkExternal(items, Names{})
}

func checkExternal(items []string, _ Names) []flaw {
	var flaws []flaw
	for i, s := range items {
		if err := event.CheckStageName(s); err != nil {
			flaws = append(flaws, flaw{i, err.Error()})
		} else if slices.Contains(items[:i], s) {
			flaws = append(flaws, flaw{i, fmt.Sprintf("stage %q is listed twice", s)})
		}
	}
	return flaws
}

func checkBrokers(items []string, _ Names) []flaw {
	if len(items) == 0 {
		return []flaw{{-1, "the list is empty: want at least one broker, such as 127.0.0.1:9092"}}
	}
	var flaws []flaw
	for i, s := range items {
		host, port, err := net.SplitHostPort(s)
		n, portErr := strconv.ParseUint(port, 10, 16)
		if err != nil || host == "" || strings.ContainsAny(host, " /@") || portErr != nil || n == 0 {
			flaws = append(flaws, flaw{i, fmt.Sprintf("%q is no broker: want host:port, such as 127.0.0.1:9092", s)})
		}
	}
	return flaws
}

// checkPassword takes any but what stands for one in printed configuration.
func checkPassword(s string) error {
	if s == redacted {
		return errors.New("this is what stands for the password in printed configuration, not the password")
	}
	return nil
}

// The checks of addresses with a password never say what the address is, and
// pass on no error of a parser, which would.

func checkAMQP(s string) error {
	u, err := url.Parse(s)
	if err == nil {
		_, err = amqp091.ParseURI(s) // its parameters too
	}
	if err != nil || u.Scheme != "amqp" && u.Scheme != "amqps" || !hasHost(u) {
		return errors.New("the URL is malformed: want amqp(s)://user:password@host:port/vhost, with %2F for a slash in a part of it (its value is not shown)")
	}
	return nil
}

func checkManagement(s string) error {
	if u, err := url.Parse(s); s != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || !hasHost(u)) {
		return errors.New("the URL is malformed: want http(s)://user:password@host:15672 (its value is not shown)")
	}
	return nil
}

// hasHost reports whether a URL names a host, and a port that can be one if any.
func hasHost(u *url.URL) bool {
	if u.Hostname() == "" || strings.ContainsAny(u.Hostname(), " ") {
		return false
	}
	if u.Port() == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && n > 0
}

// keyValueDSN matches the other form of a connection string: host=… user=….
var keyValueDSN = regexp.MustCompile(`^\s*[a-z_]+\s*=`)

// sslModes are what PostgreSQL knows.
var sslModes = []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}

var sslMode = regexp.MustCompile(`[?& ]sslmode=([^& ]*)`)

// dsnFiles matches what in a connection string names files.
var dsnFiles = regexp.MustCompile(`(sslrootcert|sslcert|sslkey|service|servicefile)\s*=`)

// checkDSN leaves a connection string that names files to the rules: only who
// opens the database need have them.
func checkDSN(s string) error {
	if m := sslMode.FindStringSubmatch(" " + s); m != nil && !slices.Contains(sslModes, m[1]) {
		return fmt.Errorf("the connection string has an unknown sslmode: want one of %s (its value is not shown)", strings.Join(sslModes, ", "))
	}
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	isURL := err == nil && (u.Scheme == "postgres" || u.Scheme == "postgresql") && u.Opaque == "" && !strings.Contains(u.Path, "@")
	sound := isURL || keyValueDSN.MatchString(s)
	if sound && !dsnFiles.MatchString(s) {
		_, err := pg.Parse("", s)
		sound = err == nil
	}
	if !sound {
		return errors.New("the connection string is malformed: want postgres://user:password@host:5432/database, or host=… user=… (its value is not shown)")
	}
	return nil
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

// checkCertificates wants a readable file with at least one certificate.
func checkCertificates(path string) error {
	pem, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("cannot be read: %w", cause(err))
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return errors.New("has no certificate in PEM form")
	}
	return nil
}
