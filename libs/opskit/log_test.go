package opskit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func lines(t *testing.T, buf *bytes.Buffer) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(buf.String()) {
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &m), line)
		all = append(all, m)
	}
	return all
}

func TestLoggerFormats(t *testing.T) {
	t.Parallel()
	file, err := os.CreateTemp(t.TempDir(), "log")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })
	NewLogger(LogConfig{Writer: file}).Info("started", slog.String("dc", "eu-1"))
	content, err := os.ReadFile(file.Name())
	require.NoError(t, err)
	require.True(t, json.Valid(content), "auto is JSON where nobody watches: %s", content)

	for format, want := range map[string]string{LogText: "INF started dc=eu-1", LogJSON: `"msg":"started"`, "": `"msg":"started"`, LogAuto: `"msg":"started"`} {
		var buf bytes.Buffer
		NewLogger(LogConfig{Format: format, Writer: &buf}).Info("started", slog.String("dc", "eu-1"))
		require.Contains(t, buf.String(), want, format)
		require.NotContains(t, buf.String(), "\x1b[", "no colours off a terminal")
	}
}

func TestLoggerLevel(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	logger := NewLogger(LogConfig{Level: slog.LevelWarn, Format: LogJSON, Writer: &buf})
	logger.Info("hidden")
	logger.Warn("seen")
	require.Len(t, lines(t, &buf), 1)
}

func TestDurationsInJSONAreSeconds(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	NewLogger(LogConfig{Format: LogJSON, Writer: &buf}).Info("stopped", slog.Duration("duration", 1500*time.Millisecond))
	require.InDelta(t, 1.5, lines(t, &buf)[0]["duration"], 0)
}

func TestLoggerAddsTheTrace(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	logger := NewLogger(LogConfig{Format: LogJSON, Writer: &buf}).With("dc", "eu-1")
	logger.InfoContext(spanContext(t), "published", slog.Int("seq", 7))
	logger.Info("no span")
	logger.WithGroup("room").InfoContext(spanContext(t), "grouped")

	got := lines(t, &buf)
	require.Equal(t, "01000000000000000000000000000000", got[0]["trace_id"])
	require.Equal(t, "0200000000000000", got[0]["span_id"])
	require.Equal(t, "eu-1", got[0]["dc"])
	require.NotContains(t, got[1], "trace_id")
	require.Contains(t, got[2]["room"], "trace_id")
}

func TestRateLimitedLogger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var buf bytes.Buffer
		logger := RateLimited(NewLogger(LogConfig{Format: LogJSON, Writer: &buf}))
		sibling := logger.With("node", "n1").WithGroup("g")

		for range 10 {
			logger.Warn("slow connection", slog.Int("n", 1))
			sibling.Warn("slow connection")
		}
		logger.Info("slow connection")
		logger.Warn("other")
		got := lines(t, &buf)
		require.Len(t, got, 3, "one line for each message and level")
		require.NotContains(t, got[0], "suppressed")

		buf.Reset()
		advance(time.Second)
		logger.Warn("slow connection")
		logger.Debug("below the level")
		got = lines(t, &buf)
		require.Len(t, got, 1)
		require.EqualValues(t, 19, got[0]["suppressed"])

		buf.Reset()
		advance(time.Second)
		logger.Warn("slow connection")
		require.NotContains(t, lines(t, &buf)[0], "suppressed", "the count starts anew")
	})
}

func TestRateLimitedLoggerIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var buf bytes.Buffer
		logger := RateLimited(NewLogger(LogConfig{Format: LogJSON, Writer: &buf}))
		for i := range 3 * maxLimitedMessages {
			logger.Warn(fmt.Sprintf("message %d", i)) //nolint:sloglint // messages that are no constants are what is tested
		}
		handler, ok := logger.Handler().(*limitHandler)
		require.True(t, ok)
		require.LessOrEqual(t, len(handler.state.seen), maxLimitedMessages+1)
		require.Len(t, lines(t, &buf), maxLimitedMessages+1, "the overflow shares one line")

		buf.Reset()
		advance(time.Second)
		logger.Warn("fresh")
		require.Len(t, lines(t, &buf), 1)
		require.Len(t, handler.state.seen, 1, "quiet messages are forgotten")
	})
}
