package e2e

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

var (
	hiddenField  = regexp.MustCompile(`<input[^>]*type="hidden"[^>]*>`)
	nameOf       = regexp.MustCompile(`name="([^"]*)"`)
	valueOf      = regexp.MustCompile(`value="([^"]*)"`)
	inlineScript = regexp.MustCompile(`(?i)<script(?:\s+type="module")?\s*>|\son[a-z]+="|javascript:`)
	inlineStyle  = regexp.MustCompile(`(?i)<style|\sstyle="`)
)

// page asks for a page as a browser does and checks what every page must have.
func page(t testing.TB, addr, path string, status int) string {
	t.Helper()
	r := send(t, addr, request11("GET", path, addr, []string{"Accept: text/html"}, ""))
	if r.status != status || !strings.HasPrefix(r.header.Get("Content-Type"), "text/html") {
		t.Errorf("GET %s: status %d, %s; want a page with %d", path, r.status, r.header.Get("Content-Type"), status)
		return r.body
	}
	csp := r.header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("GET %s: Content-Security-Policy %q", path, csp)
	}
	for _, header := range []string{"X-Content-Type-Options", "Referrer-Policy"} {
		if r.header.Get(header) == "" {
			t.Errorf("GET %s: no %s", path, header)
		}
	}
	if found := inlineScript.FindString(r.body) + inlineStyle.FindString(r.body); found != "" {
		t.Errorf("GET %s: %q is inline, which the policy forbids", path, found)
	}
	return r.body
}

// TestPages orders by form, without a script, and looks at every page.
func TestPages(t *testing.T) {
	s := start(t)
	form := url.Values{"count": {"3"}}
	for _, field := range hiddenField.FindAllString(page(t, s.main, "/", http.StatusOK), -1) {
		form.Set(nameOf.FindStringSubmatch(field)[1], valueOf.FindStringSubmatch(field)[1])
	}
	if len(form) < 2 {
		t.Fatalf("the form has no key of its own: %v", form)
	}
	order := func(form url.Values) reply {
		return send(t, s.main, request11("POST", "/orders", s.main, []string{"Content-Type: application/x-www-form-urlencoded"}, form.Encode()))
	}
	first, second := order(form), order(form)
	path := first.header.Get("Location")
	if first.status != http.StatusSeeOther || !strings.HasPrefix(path, "/orders/") {
		t.Fatalf("POST /orders: status %d, Location %q", first.status, path)
	}
	if second.status != http.StatusSeeOther || second.header.Get("Location") != path {
		t.Errorf("the form sent twice: status %d, Location %q instead of %q", second.status, second.header.Get("Location"), path)
	}
	id := strings.TrimPrefix(path, "/orders/")
	s.mustComplete(id, refusalLimit)
	for _, addr := range []string{s.main, s.admin} {
		page(t, addr, "/orders", http.StatusOK)
		page(t, addr, path, http.StatusOK)
		page(t, addr, "/pizzas/"+id+"-3", http.StatusOK)
		page(t, addr, "/orders/nobody", http.StatusNotFound)
		page(t, addr, "/pizzas/"+id+"-4", http.StatusNotFound)
	}
	page(t, s.main, "/nothing", http.StatusNotFound)

	before := s.trace()
	if before != (trace{orders: 1, ordered: 3}) {
		t.Errorf("the form left %+v", before)
	}
	for _, count := range []string{"0", "-1", "x", "", "100001", "1.5"} {
		form.Set("count", count)
		if r := order(form); r.status != http.StatusBadRequest || !strings.Contains(r.body, "aria-invalid") {
			t.Errorf("a form for %q pizzas: status %d, want 400 and the field marked", count, r.status)
		}
	}
	if after := s.trace(); after != before {
		t.Errorf("refused forms left a trace: before %+v, after %+v", before, after)
	}
}
