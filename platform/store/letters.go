package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math"
	"regexp"

	"github.com/pizzamill/pizzamill/platform/event"
)

// LetterID makes the ID of a dead letter from its identity: the module and,
// of an event whose body could be read, its event ID; else whatever else names
// it, such as topic and body.
func LetterID(module string, identity ...string) string {
	return shortHash(append([]string{module}, identity...))
}

// Fingerprint puts dead letters of one cause into one group: module, kind and
// error, with IDs and numbers masked.
func Fingerprint(module, kind, errText string) string {
	return shortHash([]string{module, kind, masked.ReplaceAllString(errText, "#")})
}

// masked finds what differs between failures of one cause: UUIDs, order IDs
// with or without a number, long hexadecimal strings, and numbers.
var masked = regexp.MustCompile(
	`\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b` +
		`|\b[0-9][0-9a-hjkmnp-tv-z]{15}(-[0-9]+)?\b` +
		`|\b(0x)?[0-9a-fA-F]{8,}\b` +
		`|[0-9]+`)

// shortHash is 120 bits of SHA-256 over parts, URL-safe. The lengths keep
// parts apart that would read the same run together.
func shortHash(parts []string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:15])
}

// AddDeadLetter writes a dead letter, or the same one again: then it updates
// attempts, time and error, and a copy with fewer requeues is late and ignored.
// Attempts and requeues, which anybody may have written, are kept up to 2^31 - 1.
// The letter's pizza becomes dead-lettered unless it is complete; a pizza that
// nobody ordered has its letter all the same.
func (l *Ledger) AddDeadLetter(ctx context.Context, d DeadLetter) error {
	if d.ID == "" {
		return fmt.Errorf("add dead letter: it has no ID")
	}
	d.Attempts, d.Requeues = storable(d.Attempts), storable(d.Requeues)
	return l.do(&op{
		ctx:     ctx,
		weight:  1,
		patient: true,
		need: func(n *needs) {
			if d.Pizza != nil {
				n.pizza(d.Pizza.Order, d.Pizza.Number)
			}
		},
		apply: func(u *unit) (outcome, abort error) { return nil, u.addLetter(d) },
	})
}

// storable returns what every database can keep of a count.
func storable(n int) int { return min(max(n, 0), math.MaxInt32) }

func (u *unit) addLetter(d DeadLetter) error {
	known, ok := u.letters[d.ID]
	if !ok {
		stored, found, err := u.tx.Letter(d.ID)
		if err != nil {
			return fmt.Errorf("look up dead letter %s: %w", d.ID, err)
		}
		if found {
			known = &stored
		}
	}
	d.Status = LetterDead
	if known != nil {
		if d.Requeues < known.Requeues {
			return nil
		}
		again := *known
		again.Status, again.Requeues = d.Status, d.Requeues
		again.Error, again.Attempts = d.Error, d.Attempts
		again.Kind, again.Fingerprint = d.Kind, d.Fingerprint
		if d.FirstFailed.Before(again.FirstFailed) {
			again.FirstFailed = d.FirstFailed
		}
		if d.LastFailed.After(again.LastFailed) {
			again.LastFailed = d.LastFailed
		}
		d = again
	}
	if !ok {
		u.dirtyLetters = append(u.dirtyLetters, d.ID)
	}
	u.letters[d.ID] = &d
	if d.Pizza != nil {
		u.bury(&d)
	}
	return nil
}

// bury makes a letter's pizza dead-lettered.
func (u *unit) bury(d *DeadLetter) {
	p := u.pizza(d.Pizza.Order, d.Pizza.Number)
	if p == nil || p.Status == Complete {
		return
	}
	if d.Kind != KindPoison {
		u.inferFromLetter(p, d)
	}
	if p.Status == DeadLettered {
		return
	}
	o := p.order
	o.DeadLettered++
	if p.Number > o.Dispatched {
		o.DoneAhead++
	}
	at := millis(d.LastFailed)
	if steps := arrange(u.l.pipeline, p.Steps); len(steps) > 0 {
		at = max(at, steps[len(steps)-1].shown)
	}
	u.draw(p, FactRow{Kind: EventDeadLetter, Source: d.Module, Body: []byte(d.Error), At: at})
	p.Status, p.Letter = DeadLettered, d.ID
}

// inferFromLetter writes the steps up to the letter's topic that the pizza
// lacks: the module had their event in hand.
func (u *unit) inferFromLetter(p *pizza, d *DeadLetter) {
	step, ok := u.l.pipeline.StepOf(d.Topic)
	if !ok {
		return
	}
	body, err := event.Parse(d.Body, nil)
	if err != nil || body.ID != *d.Pizza || body.Replay > 0 { // cut by the bus, or not this pizza's
		return
	}
	for j, name := range u.l.pipeline.Steps()[:u.l.pipeline.Index(step)+1] {
		if p.find(name) < 0 {
			u.addStep(p, StepState{Name: name, At: millis(d.FirstFailed), Inferred: true}, "",
				withoutStepsBehind(u.l.pipeline, body, j))
		}
	}
}
