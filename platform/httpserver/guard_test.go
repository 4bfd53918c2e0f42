package httpserver

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestLoopbackNames(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:8081": true, "LocalHost:1": true,
		"127.0.0.1": true, "127.0.0.1:8081": true, "127.1.2.3:80": true,
		"[::1]": true, "[::1]:8081": true,
		"": false, ":8081": false, "::1": false, "localhost:": false, "localhost:x": false,
		"localhost.evil.example": false, "127.0.0.1.evil.example": false, "evil.example:8081": false,
		"127.1": false, "2130706433": false, "0.0.0.0": false, "10.0.0.1:8081": false, "[127.0.0.1]": false,
		"[::1%lo]": false, "[::2]:80": false, "localhost@evil.example": false, "pizzamill.local": false,
	} {
		if got := isLoopback(host); got != want {
			t.Errorf("%q: %t, want %t", host, got, want)
		}
	}
}

func TestOpenAdminAnswersLoopbackNamesOnly(t *testing.T) {
	s := start(t, Admin(mux(false), "", quiet()))
	for host, want := range map[string]int{"localhost:8081": 200, "[::1]": 200, "evil.example": 403, "": 403} {
		for _, path := range []string{"/api/orders", "/livez", "/metrics"} {
			res := raw(t, s.Addr(), "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
			if res.StatusCode != want {
				t.Errorf("Host %q, %s: %d, want %d", host, path, res.StatusCode, want)
			}
			if res.StatusCode == 403 {
				problemIn(t, res)
			}
		}
	}
	res := raw(t, s.Addr(), "GET /api/orders HTTP/1.0\r\n\r\n")
	if res.StatusCode != 403 {
		t.Errorf("no Host at all: %d", res.StatusCode)
	}
}

func TestToken(t *testing.T) {
	h := Admin(mux(false), "s3cret", quiet())
	basic := func(user, password string) string {
		r := httptest.NewRequest("GET", "/", nil)
		r.SetBasicAuth(user, password)
		return r.Header.Get("Authorization")
	}
	for _, tc := range []struct {
		name   string
		method string
		path   string
		auth   []string
		want   int
	}{
		{"none", "GET", "/api/orders", nil, 401},
		{"bearer", "GET", "/api/orders", []string{"Bearer s3cret"}, 200},
		{"bearer in lower case", "GET", "/api/orders", []string{"bearer s3cret"}, 200},
		{"basic", "GET", "/api/orders", []string{basic("", "s3cret")}, 200},
		{"basic with a user", "GET", "/api/orders", []string{basic("chef", "s3cret")}, 200},
		{"wrong", "GET", "/api/orders", []string{"Bearer s3cre"}, 401},
		{"empty", "GET", "/api/orders", []string{"Bearer "}, 401},
		{"wrong password", "GET", "/api/orders", []string{basic("s3cret", "")}, 401},
		{"another scheme", "GET", "/api/orders", []string{"Token s3cret"}, 401},
		{"no scheme", "GET", "/api/orders", []string{"s3cret"}, 401},
		{"two lines", "GET", "/api/orders", []string{"Bearer s3cret", "Bearer s3cret"}, 401},
		{"unknown path", "GET", "/api/nothing", nil, 401},
		{"page", "GET", "/", nil, 401},
		{"probe", "GET", "/livez", nil, 200},
		{"probe by HEAD", "HEAD", "/livez", nil, 200},
		{"probe by another method", "POST", "/livez", nil, 401},
		{"metrics", "GET", "/metrics", nil, 200},
		{"below the metrics", "GET", "/metrics/x", nil, 401},
	} {
		r := httptest.NewRequest(tc.method, tc.path, nil)
		for _, line := range tc.auth {
			r.Header.Add("Authorization", line)
		}
		r.Host = "pizzamill.example" // with a token any name will do
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if rec.Code != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, rec.Code, tc.want)
		}
		if rec.Code == http.StatusUnauthorized {
			problemIn(t, rec.Result())
			if len(rec.Header().Values("WWW-Authenticate")) != 2 {
				t.Errorf("%s: WWW-Authenticate %q", tc.name, rec.Header().Values("WWW-Authenticate"))
			}
		}
	}
}
