package httpserver

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"
)

// contentSecurityPolicy allows what the pages are made of and nothing else: no
// inline script, no inline style, nothing from another host, no frame around it.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// chain is what a request passes before it reaches its handler.
type chain struct {
	mux   *http.ServeMux
	guard func(h http.Header, r *http.Request) (Problem, bool) // nil: everybody may
	cross *http.CrossOriginProtection
	log   *slog.Logger
}

// Main returns the handler of the main listener around the mux that modules
// have mounted their routes on.
func Main(mux *http.ServeMux, log *slog.Logger) http.Handler {
	return &chain{mux: mux, cross: http.NewCrossOriginProtection(), log: log}
}

// Admin returns the handler of the admin listener. Without a token it answers
// only to loopback names in Host, so that no page of another site reaches it
// by a name that resolves to this machine. With one, everything but the probes
// and the metrics wants the token, as Bearer or as the password of Basic.
func Admin(mux *http.ServeMux, token string, log *slog.Logger) http.Handler {
	guard := loopbackOnly
	if token != "" {
		guard = wantToken(token)
	}
	return &chain{mux: mux, guard: guard, cross: http.NewCrossOriginProtection(), log: log}
}

func (c *chain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := &recorder{ResponseWriter: w}
	defer c.logRequest(rec, r, time.Now())
	defer c.recoverPanic(rec, r)

	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)) // a recorder in a test has none
	setSecurityHeaders(w.Header())
	if c.guard != nil {
		if p, refused := c.guard(w.Header(), r); refused {
			c.fail(rec, r, p)
			return
		}
	}
	if err := c.cross.Check(r); err != nil {
		c.fail(rec, r, NewProblem(http.StatusForbidden, "a page of another origin must not send this request"))
		return
	}
	c.route(rec, r)
}

func setSecurityHeaders(h http.Header) {
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	// Not no-referrer: with it browsers send "Origin: null" with our own forms.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// logRequest leaves out the query and all headers, which may carry secrets.
func (c *chain) logRequest(rec *recorder, r *http.Request, start time.Time) {
	if !c.log.Enabled(r.Context(), slog.LevelDebug) {
		return
	}
	c.log.LogAttrs(r.Context(), slog.LevelDebug, "request",
		slog.String("method", r.Method), slog.String("path", r.URL.Path),
		slog.Int("status", rec.status), slog.Int64("bytes", rec.bytes),
		slog.Duration("took", time.Since(start)))
}

// recoverPanic turns a panic into a 500 that names its place in the log.
func (c *chain) recoverPanic(rec *recorder, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler { //nolint:errorlint // net/http compares the very value, too
		panic(v)
	}
	instance := newInstance()
	c.log.LogAttrs(r.Context(), slog.LevelError, "request panicked",
		slog.String("instance", instance), slog.String("method", r.Method), slog.String("path", r.URL.Path),
		slog.String("panic", fmt.Sprint(v)), slog.String("stack", string(debug.Stack())))
	if rec.status != 0 {
		panic(http.ErrAbortHandler) // half an answer is out: only cutting it tells the caller
	}
	clear(rec.Header()) // what the handler had prepared is of another answer
	setSecurityHeaders(rec.Header())
	p := NewProblem(http.StatusInternalServerError, "something broke here; the log has more under this instance")
	p.Instance = instance
	c.fail(rec, r, p)
}

// newInstance returns a random UUID as a URI.
func newInstance() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// recorder knows whether an answer has begun, and how it went.
type recorder struct {
	http.ResponseWriter
	status int // 0 until the header is written
	bytes  int64
}

func (rec *recorder) WriteHeader(status int) {
	if rec.status == 0 && status >= http.StatusOK {
		rec.status = status
	}
	rec.ResponseWriter.WriteHeader(status)
}

func (rec *recorder) Write(b []byte) (int, error) {
	if rec.status == 0 {
		rec.status = http.StatusOK
	}
	n, err := rec.ResponseWriter.Write(b)
	rec.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach flushing and deadlines.
func (rec *recorder) Unwrap() http.ResponseWriter { return rec.ResponseWriter }
