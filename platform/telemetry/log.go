package telemetry

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/pizzamill/pizzamill/platform/event"
)

// NewLogger returns the logger of a process, as [log] level and format ask for
// it: debug, info, warn or error; text, json, or auto, which is text if w is a
// terminal.
func NewLogger(w io.Writer, level, format string, isTerminal bool) (*slog.Logger, error) {
	var least slog.Level
	switch level {
	case "debug":
		least = slog.LevelDebug
	case "info":
		least = slog.LevelInfo
	case "warn":
		least = slog.LevelWarn
	case "error":
		least = slog.LevelError
	default:
		return nil, fmt.Errorf("log level %q: want debug, info, warn or error", level)
	}
	opts := &slog.HandlerOptions{Level: least, ReplaceAttr: utcMillis}
	switch {
	case format == "text", format == "auto" && isTerminal:
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case format == "json", format == "auto":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, fmt.Errorf("log format %q: want auto, text or json", format)
}

func utcMillis(groups []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey && len(groups) == 0 && a.Value.Kind() == slog.KindTime {
		return slog.String(slog.TimeKey, event.FormatTime(a.Value.Time()))
	}
	return a
}
