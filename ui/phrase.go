package ui

import (
	"context"
	"io"
	"strings"

	"github.com/a-h/templ"
)

// phrase is text that others had a hand in: words of ours, and what a stage or a
// header says. A bidirectional control in one of those would turn the words
// around it, so each stands for itself.
type phrase []span

type span struct {
	Text   string
	Theirs bool
}

func ours(text string) phrase   { return phrase{{Text: text}} }
func theirs(text string) phrase { return phrase{{Text: text, Theirs: true}} }

// list joins phrases as a sentence would: "a, b and c".
func list(items []phrase, last string) phrase {
	var p phrase
	for i, item := range items {
		switch {
		case i == 0:
		case i == len(items)-1:
			p = append(p, span{Text: last})
		default:
			p = append(p, span{Text: ", "})
		}
		p = append(p, item...)
	}
	return p
}

// plain is the phrase where nothing can be set apart: a title, an attribute.
func (p phrase) plain() string {
	var b strings.Builder
	for _, s := range p {
		b.WriteString(undirected(s.Text))
	}
	return b.String()
}

// words writes a phrase. A template would put spaces of its own between its parts.
func words(p phrase) templ.Component {
	return templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		for _, s := range p {
			text := templ.EscapeString(s.Text)
			if s.Theirs && turns(s.Text) {
				text = "<bdi>" + templ.EscapeString(enclosed(s.Text)) + "</bdi>"
			}
			if _, err := io.WriteString(w, text); err != nil {
				return err
			}
		}
		return nil
	})
}

// directs reports whether a character is a control of text direction. live.js
// has the same list.
func directs(r rune) bool {
	return r == 0x61c || r == 0x200e || r == 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// turns reports whether text can change the direction of what is around it: it
// has controls, or letters of a script that is written from right to left.
func turns(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool {
		return directs(r) || r >= 0x590 && r <= 0x8ff || r >= 0xfb1d && r <= 0xfdff || r >= 0xfe70 && r <= 0xfeff ||
			r >= 0x10800 && r <= 0x10fff || r >= 0x1e800 && r <= 0x1efff
	})
}

// undirected is text without controls of direction.
func undirected(text string) string {
	return strings.Map(func(r rune) rune {
		if directs(r) {
			return -1
		}
		return r
	}, text)
}

// enclosed drops the controls that end an isolate which the text has not begun:
// one of those would end the element around it.
func enclosed(text string) string {
	depth := 0
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 0x2066 && r <= 0x2068:
			depth++
		case r == 0x2069 && depth == 0:
			return -1
		case r == 0x2069:
			depth--
		}
		return r
	}, text)
}
