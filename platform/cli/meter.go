package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	// lineEvery is the pace of progress lines where there is no terminal.
	lineEvery = 5 * time.Second
	maxBar    = 40 // columns
	minBar    = 8
)

// meter shows how far an order is: a bar that is drawn over itself on a
// terminal, a line now and then elsewhere.
type meter struct {
	w     io.Writer
	width func() int // columns of the terminal, 0 if it is none

	begin time.Time
	first int // complete when the watch began
	line  time.Time
	drawn bool // a bar stands on the current line
}

func newMeter(w io.Writer, width func() int, o order) *meter {
	now := time.Now()
	return &meter{w: w, width: width, begin: now, first: o.Completed, line: now}
}

// show shows a state of the order.
func (m *meter) show(o order) {
	speed := rate(o.Completed-m.first, time.Since(m.begin))
	if width := m.width(); width > 0 {
		// Back to the start, draw, and clear what a longer one left behind.
		fmt.Fprintf(m.w, "\r%s\x1b[K", bar(o, speed, width-1))
		m.drawn = true
		return
	}
	if time.Since(m.line) < lineEvery {
		return
	}
	m.line = time.Now()
	fmt.Fprintf(m.w, "%d of %s, %s%s\n", o.Completed, pizzas(o.Count), speed, deadLetters(o))
}

// note shows a line of text.
func (m *meter) note(text string) {
	m.done()
	fmt.Fprintln(m.w, text)
}

// done leaves what is drawn and goes on below it.
func (m *meter) done() {
	if m.drawn {
		fmt.Fprintln(m.w)
		m.drawn = false
	}
}

// bar draws the progress of an order in at most width columns.
func bar(o order, speed string, width int) string {
	count := fmt.Sprint(o.Count)
	left := fmt.Sprintf("%*d/%s ", len(count), o.Completed, count)
	right := fmt.Sprintf(" %3d%%  %s%s", percent(o), speed, deadLetters(o))
	room := min(maxBar, width-len(left)-len(right)-2)
	if room < minBar {
		line := left + strings.TrimLeft(right, " ")
		return line[:max(0, min(len(line), width))]
	}
	full := 0
	if o.Count > 0 {
		full = min(room, room*o.Completed/o.Count)
	}
	return left + "[" + strings.Repeat("#", full) + strings.Repeat("-", room-full) + "]" + right
}

// percent is rounded down, so that 100 means all.
func percent(o order) int {
	if o.Count == 0 {
		return 0
	}
	return 100 * o.Completed / o.Count
}

func rate(n int, d time.Duration) string {
	if d <= 0 {
		return "0/s"
	}
	perSecond := float64(n) / d.Seconds()
	if perSecond < 10 {
		return fmt.Sprintf("%.1f/s", perSecond)
	}
	return fmt.Sprintf("%.0f/s", perSecond)
}

func deadLetters(o order) string {
	if o.DeadLettered == 0 {
		return ""
	}
	return fmt.Sprintf(", %d dead-lettered", o.DeadLettered)
}
