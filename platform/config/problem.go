package config

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with the configuration.
type Problem struct {
	// Place is "config.toml:3:1" (line and column, from 1), the name of an
	// environment variable, or a flag.
	Place string
	Text  string
	// Usage is true if the command line is wrong rather than the configuration.
	Usage bool
}

// Error has every problem of one run. It shows no secret.
type Error struct{ Problems []Problem }

// Error returns a line per problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.Place + ": " + p.Text
	}
	if len(lines) == 1 {
		return lines[0]
	}
	return fmt.Sprintf("%d problems in the configuration\n  %s", len(lines), strings.Join(lines, "\n  "))
}

// ExitCode is 2 if only the command line is wrong, else 3.
func (e *Error) ExitCode() int {
	for _, p := range e.Problems {
		if !p.Usage {
			return 3
		}
	}
	return 2
}
