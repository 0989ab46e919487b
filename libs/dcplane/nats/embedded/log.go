package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
)

// logAdapter is the server's logger. Its notices, some twenty lines a start, are debug lines here. The server expects a
// fatal message to end the process; we keep the first one instead, and Start returns it.
type logAdapter struct {
	logger *slog.Logger
	mu     sync.Mutex
	died   error
}

func newLogAdapter(logger *slog.Logger) *logAdapter {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &logAdapter{logger: logger}
}

const logMessage = "embedded nats"

func (l *logAdapter) Noticef(format string, v ...any) {
	l.logger.Debug(logMessage, "message", fmt.Sprintf(format, v...))
}

func (l *logAdapter) Debugf(format string, v ...any) {
	l.logger.Debug(logMessage, "message", fmt.Sprintf(format, v...))
}

func (l *logAdapter) Tracef(format string, v ...any) {
	l.logger.Debug(logMessage, "message", fmt.Sprintf(format, v...))
}

func (l *logAdapter) Warnf(format string, v ...any) {
	l.logger.Warn(logMessage, "message", fmt.Sprintf(format, v...))
}

func (l *logAdapter) Errorf(format string, v ...any) {
	l.logger.Error(logMessage, "message", fmt.Sprintf(format, v...))
}

func (l *logAdapter) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.logger.Error(logMessage, "message", text)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.died == nil {
		l.died = errors.New(text)
	}
}

func (l *logAdapter) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.died
}
