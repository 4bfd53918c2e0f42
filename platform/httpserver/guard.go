package httpserver

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/netip"
	"strings"
)

// loopbackOnly refuses requests whose Host is no loopback name.
func loopbackOnly(_ http.Header, r *http.Request) (Problem, bool) {
	if isLoopback(r.Host) {
		return Problem{}, false
	}
	return NewProblem(http.StatusForbidden,
		"without [admin] token the admin listener answers only to localhost, 127.0.0.0/8 and [::1] in Host"), true
}

// isLoopback reports whether a Host header, with or without a port, names this
// machine in a way that no resolver can redirect.
func isLoopback(host string) bool {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		if !isPort(host[i+1:]) {
			return false
		}
		host = host[:i]
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	bare, bracketed := host, false
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		bare, bracketed = host[1:len(host)-1], true
	}
	addr, err := netip.ParseAddr(bare)
	return err == nil && addr.IsLoopback() && addr.Zone() == "" && addr.Is6() == bracketed
}

func isPort(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// wantToken refuses requests without the token, except to what orchestrators
// and scrapers read.
func wantToken(token string) func(http.Header, *http.Request) (Problem, bool) {
	want := sha256.Sum256([]byte(token))
	return func(h http.Header, r *http.Request) (Problem, bool) {
		if readsProbe(r) {
			return Problem{}, false
		}
		// Hashes have one length, so that the comparison tells nothing about the token's.
		got := sha256.Sum256([]byte(presented(r)))
		if subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
			return Problem{}, false
		}
		h.Add("WWW-Authenticate", `Basic realm="pizzamill admin", charset="UTF-8"`)
		h.Add("WWW-Authenticate", `Bearer realm="pizzamill admin"`)
		return NewProblem(http.StatusUnauthorized,
			"this needs the admin token: Authorization: Bearer <token>, or HTTP Basic with it as the password"), true
	}
}

func readsProbe(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && isProbe(r.URL.Path)
}

// isProbe reports whether a path is for orchestrators and scrapers.
func isProbe(path string) bool { return path == "/livez" || path == "/readyz" || path == "/metrics" }

// presented returns the token that a request shows, or "".
func presented(r *http.Request) string {
	lines := r.Header["Authorization"]
	if len(lines) != 1 {
		return ""
	}
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	scheme, token, ok := strings.Cut(lines[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
