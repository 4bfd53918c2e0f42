//go:build browser

package ui

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestAccessibility holds every state of every page to axe-core, light and
// dark, wide and narrow, with script and as served without. It also sees that
// nothing is wider than the window, and that the console stays empty: a breach
// of the content security policy would be there.
func TestAccessibility(t *testing.T) {
	source := axeSource(t)
	base, names := stories(t)
	b := openTab(t)
	for script, query := range map[bool]string{true: "", false: "?script=off"} {
		for _, dark := range []bool{false, true} {
			b.dark(dark)
			for _, width := range []int64{1280, 360} {
				b.size(width)
				for _, name := range names {
					t.Run(fmt.Sprintf("%s-%d-dark=%v-script=%v", name, width, dark, script), func(t *testing.T) {
						b.t = t
						b.open(base + name + query)
						if js := eval[bool](b, "document.documentElement.classList.contains('js')"); js != script {
							t.Fatalf("script ran: %v, want %v", js, script)
						}
						for _, v := range b.axe(source) {
							t.Errorf("axe: %s", v)
						}
						if wide := eval[int64](b, "document.scrollingElement.scrollWidth"); wide > width {
							t.Errorf("the page is %d px wide", wide)
						}
						b.quiet()
						b.picture(strings.TrimPrefix(t.Name(), "TestAccessibility/"))
					})
				}
			}
		}
	}
	b.t = t
}

// TestAxeSees breaks a page in ways that the check above must find.
func TestAxeSees(t *testing.T) {
	source := axeSource(t)
	base, _ := stories(t)
	b := openTab(t)
	b.open(base + "home")
	for flaw, script := range map[string]string{
		"contrast":       `document.getElementById('count-hint').setAttribute('class', ''), document.styleSheets[0].insertRule('#count-hint { color: #ccc }', document.styleSheets[0].cssRules.length)`,
		"a lost label":   `document.querySelector('h1 label').remove()`,
		"a lost heading": `document.getElementById('line').remove()`,
	} {
		b.open(base + "home")
		eval[any](b, "(() => { "+script+" })()")
		if found := b.axe(source); len(found) == 0 {
			t.Errorf("axe does not see %s", flaw)
		}
	}
}

// picture writes the whole page to the folder PIZZAMILL_TEST_PICTURES, for
// people to look at, if that is set.
func (b *tab) picture(name string) {
	b.t.Helper()
	folder := os.Getenv("PIZZAMILL_TEST_PICTURES")
	if folder == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, name+".png"), png, 0o644)
	}
	if err != nil {
		b.t.Errorf("take a picture of the page: %v", err)
	}
}
