package ui

import (
	"crypto/rand"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/pizzamill/pizzamill/platform/httpserver"
	"github.com/pizzamill/pizzamill/platform/store"
)

// Limits of the form.
const (
	formBytes = 64 << 10
	keyBytes  = 64 // of a form's key
	echoChars = 40 // of a wrong count that is shown again
)

// placeOrder takes the order form: 303 to the order, 400 with the form and what
// is wrong with it, or 503 if it cannot be taken now.
func (s *site) placeOrder(w http.ResponseWriter, r *http.Request) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		s.fail(w, r, httpserver.NewProblem(http.StatusUnsupportedMediaType, "This address takes the order form only. Programs post JSON to /api/orders."))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, formBytes)
	if err := r.ParseForm(); err != nil {
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			s.fail(w, r, httpserver.NewProblem(http.StatusRequestEntityTooLarge, "The form is larger than 64 KiB."))
			return
		}
		s.fail(w, r, httpserver.NewProblem(http.StatusBadRequest, "The form cannot be read."))
		return
	}
	form := orderForm{Count: cut(strings.TrimSpace(r.PostForm.Get("count")), echoChars), Max: s.max, Key: r.PostForm.Get("key")}
	if !validKey(form.Key) {
		form.Key = newKey()
	}
	count, wrong := parseCount(form.Count, s.max)
	if wrong != "" {
		form.Error = wrong
		keepForBack(w)
		s.showForm(w, r, http.StatusBadRequest, "Error: order", homePage{Form: form})
		return
	}
	s.takeOrder(w, r, form, count)
}

func (s *site) takeOrder(w http.ResponseWriter, r *http.Request, form orderForm, count int) {
	select {
	case <-httpserver.Stopping(r.Context()):
		s.refuseOrder(w, r, form, count, "pizzamill is shutting down. Try again in a minute.")
		return
	default:
	}
	// The count is part of the key: a form that someone went back to and changed is another order.
	o, _, err := s.ledger.PlaceOrder(r.Context(), count, "form/"+form.Key+"/"+strconv.Itoa(count))
	switch {
	case err == nil:
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, "/orders/"+o.ID, http.StatusSeeOther)
	case errors.Is(err, store.ErrKeyReused): // only a forged form can do this
		s.fail(w, r, httpserver.NewProblem(http.StatusUnprocessableEntity, "This form was used for another order. Load the order page again."))
	default:
		s.log.ErrorContext(r.Context(), "order form: place order", "err", err)
		s.refuseOrder(w, r, form, count, "The store cannot be written to. Try again in a minute.")
	}
}

// keepForBack lets a browser keep the answer to a form for whoever comes back to
// it: it could not ask for it again without sending the form again. Nothing was
// ordered with the key in it, and script draws a new one.
func keepForBack(w http.ResponseWriter) { w.Header().Set("Cache-Control", "private, no-cache") }

// refuseOrder answers 503 with the form as it was, under the same key: should
// the order have been taken after all, sending it again gives that one.
func (s *site) refuseOrder(w http.ResponseWriter, r *http.Request, form orderForm, count int, why string) {
	w.Header().Set("Retry-After", retryAfter)
	keepForBack(w)
	n := notice{Title: "Your order was not taken.", Text: why, Again: "Order " + num(count) + " again"}
	s.showForm(w, r, http.StatusServiceUnavailable, "Error: order", homePage{Form: form, Notice: n})
}

// showForm answers with the ordering page around a form. The line is left out
// if the store cannot tell it.
func (s *site) showForm(w http.ResponseWriter, r *http.Request, status int, title string, p homePage) {
	c := s.chrome(r, title, "/")
	c.Entry = true
	if k, err := s.kitchen(r.Context()); err == nil {
		p.Kitchen = &k
		c.Live = "/live"
	} else if p.Notice.Title == "" {
		s.log.ErrorContext(r.Context(), "ordering page: read ledger", "err", err)
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", retryAfter)
		p.Notice = notice{Title: "The store cannot be read.", Text: "Orders cannot be taken now. Try again in a minute."}
	}
	if p.Notice.Title != "" {
		c.Line = lineNews{} // it would say that one can go on ordering
	}
	if w.Header().Get("Cache-Control") == "" {
		w.Header().Set("Cache-Control", "no-store") // a form that one comes back to must have a key of its own
	}
	s.render(w, r, status, homeView(c, p))
}

// parseCount reads a count as it was typed, or says what is wrong with it.
func parseCount(s string, most int) (count int, wrong string) {
	whole, fraction, point := strings.Cut(s, ".")
	switch {
	case strings.HasPrefix(s, "-") && digits(strings.Replace(s[1:], ".", "", 1)):
		return 0, "Order at least 1 pizza."
	case point && digits(whole) && digits(fraction):
		return 0, wholePizzas(s, whole, fraction, most)
	case !digits(s):
		return 0, "Type a number from 1 to " + num(most) + "."
	}
	n, err := strconv.Atoi(s)
	switch {
	case err != nil || n > most: // too many digits are too many pizzas
		return 0, "The limit is " + pizzas(most) + " an order. Split it into several."
	case n < 1:
		return 0, "Order at least 1 pizza."
	}
	return n, ""
}

// wholePizzas answers a count with a fraction.
func wholePizzas(s, whole, fraction string, most int) string {
	n, err := strconv.Atoi(whole)
	switch {
	case err != nil || n >= most:
		return "The limit is " + pizzas(most) + " an order. Split it into several."
	case n < 1:
		return "Order at least 1 pizza."
	case strings.Trim(fraction, "0") == "":
		return "Order whole pizzas: " + num(n) + ", not " + s + "."
	default:
		return "Order whole pizzas: " + num(n) + " or " + num(n+1) + ", not " + s + "."
	}
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// newKey returns the key of a form that nobody has sent yet.
func newKey() string { return rand.Text() }

// validKey reports whether a key may be one of ours, or of the script's.
func validKey(key string) bool {
	if key == "" || len(key) > keyBytes {
		return false
	}
	for i := range len(key) {
		switch c := key[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-':
		default:
			return false
		}
	}
	return true
}
