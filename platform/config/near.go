package config

import (
	"fmt"
	"strings"
)

// nearMiss returns `: did you mean "sauce"?` if one of the words is close to s,
// else ":", so that an error can go on behind it.
func nearMiss(s string, words []string) string {
	if w, ok := Nearest(s, words); ok {
		return fmt.Sprintf(": did you mean %q?", w)
	}
	return ":"
}

// Nearest returns the word that s was probably meant to be, if there is one:
// at most a third of the letters differ, and never more than three.
func Nearest(s string, words []string) (string, bool) {
	best, least := "", min(3, max(1, len(s)/3))+1
	for _, w := range words {
		if d := distance(strings.ToLower(s), strings.ToLower(w)); d < least && d < len(w) {
			best, least = w, d
		}
	}
	return best, best != ""
}

// distance is the number of letters to insert, delete, replace or swap with
// their neighbour to get from a to b (optimal string alignment).
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	prev2, prev, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range x {
		row[0] = i + 1
		for j := range y {
			cost := 1
			if x[i] == y[j] {
				cost = 0
			}
			row[j+1] = min(prev[j]+cost, prev[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				row[j+1] = min(row[j+1], prev2[j-1]+1)
			}
		}
		prev2, prev, row = prev, row, prev2
	}
	return prev[len(y)]
}
