package ui

import (
	"context"
	"io"

	"github.com/a-h/templ"
)

// jsonText writes a body line by line with the added field marked. A template
// would put spaces of its own between the lines.
func jsonText(lines []jsonLine) templ.Component {
	return templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		for i, l := range lines {
			text := templ.EscapeString(l.Text)
			if l.Added {
				text = `<span class="added">` + text + `</span>`
			}
			if i < len(lines)-1 {
				text += "\n"
			}
			if _, err := io.WriteString(w, text); err != nil {
				return err
			}
		}
		return nil
	})
}
