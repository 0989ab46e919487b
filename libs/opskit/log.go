package opskit

import (
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
)

// Log formats. LogAuto is coloured text on a terminal and JSON anywhere else.
const (
	LogAuto = "auto"
	LogJSON = "json"
	LogText = "text"
)

// LogConfig says how a process logs. It can be embedded in a configuration
// struct with prefix:"log-". The zero value logs from Info up, in LogAuto, to
// the standard error.
type LogConfig struct {
	Level  slog.Level `default:"info" help:"Lowest level that is logged: debug, info, warn or error."`
	Format string     `default:"auto" enum:"auto,json,text" help:"Log format: json, text, or auto for coloured text on a terminal and JSON elsewhere."`
	Writer io.Writer  `kong:"-"` // nil = os.Stderr
}

// NewLogger returns a logger that adds trace_id and span_id to lines logged with
// a context that carries a trace. Durations in JSON are seconds. A Format that is none of the three is LogAuto.
func NewLogger(cfg LogConfig) *slog.Logger {
	w := cfg.Writer
	if w == nil {
		w = os.Stderr
	}
	return slog.New(&traceHandler{next: newHandler(w, cfg)})
}

func newHandler(w io.Writer, cfg LogConfig) slog.Handler {
	terminal := isTerminal(w)
	switch {
	case cfg.Format == LogText || cfg.Format != LogJSON && terminal:
		return tint.NewTextHandler(w, &tint.Options{
			Level:      cfg.Level,
			TimeFormat: time.TimeOnly + ".000",
			NoColor:    !terminal || os.Getenv("NO_COLOR") != "",
		})
	default:
		return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: cfg.Level, ReplaceAttr: durationsInSeconds})
	}
}

// durationsInSeconds gives numbers in the unit of the metrics; slog's JSON has
// nanoseconds, which nobody recognises as such.
func durationsInSeconds(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.Float64Value(a.Value.Duration().Seconds())
	}
	return a
}

// isTerminal is true for character devices other than /dev/null-like sinks that
// nobody reads; colours in those do no harm.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
