package telemetry

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
)

// WatermillLogger lets Watermill log through log. What Watermill holds for
// information is about its own wiring and comes out as debug; its trace level,
// several lines for each message, is watermill.LevelTrace, below all that
// [log] level can ask for. Messages and payloads are never logged: the Router
// offers those that it could not publish.
func WatermillLogger(log *slog.Logger) watermill.LoggerAdapter { return watermillLogger{log} }

type watermillLogger struct{ log *slog.Logger }

var _ watermill.LoggerAdapter = watermillLogger{}

func (l watermillLogger) Error(msg string, err error, fields watermill.LogFields) {
	l.write(slog.LevelError, msg, err, fields)
}

func (l watermillLogger) Info(msg string, fields watermill.LogFields) {
	l.write(slog.LevelDebug, msg, nil, fields)
}

func (l watermillLogger) Debug(msg string, fields watermill.LogFields) {
	l.write(slog.LevelDebug, msg, nil, fields)
}

func (l watermillLogger) Trace(msg string, fields watermill.LogFields) {
	l.write(watermill.LevelTrace, msg, nil, fields)
}

func (l watermillLogger) With(fields watermill.LogFields) watermill.LoggerAdapter {
	return watermillLogger{slog.New(l.log.Handler().WithAttrs(attrs(fields)))}
}

func (l watermillLogger) write(level slog.Level, msg string, err error, fields watermill.LogFields) {
	ctx := context.Background()
	if !l.log.Enabled(ctx, level) {
		return
	}
	as := attrs(fields)
	if err != nil {
		as = append(as, slog.String("error", err.Error()))
	}
	l.log.LogAttrs(ctx, level, msg, as...)
}

// attrs returns the fields that may be logged, by name.
func attrs(fields watermill.LogFields) []slog.Attr {
	as := make([]slog.Attr, 0, len(fields)+1)
	for key, value := range fields {
		if key == "not_sent_message" { // the Router's own print of whole messages
			continue
		}
		if v, ok := plain(value); ok {
			as = append(as, slog.Attr{Key: key, Value: v})
		}
	}
	slices.SortFunc(as, func(a, b slog.Attr) int { return strings.Compare(a.Key, b.Key) })
	return as
}

// plain lets through what names and counts things. Whatever has inner parts,
// such as a message or its bytes, is not among it.
func plain(v any) (slog.Value, bool) {
	switch v := v.(type) {
	case string, bool, int, int32, int64, uint64, float64, time.Duration, time.Time:
		return slog.AnyValue(v), true
	case error:
		return slog.StringValue(v.Error()), true
	}
	return slog.Value{}, false
}
