package codes_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codes"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestEveryErrorCode(t *testing.T) {
	t.Parallel()
	retryable := map[string]bool{
		"BAD_FRAME": false, "UNKNOWN_KIND": false, "HELLO_LATE": false, "INVALID_ARGUMENT": false, "INVALID_ROOM": false,
		"TOO_LARGE": false, "TOO_MANY_ROOMS": false, "UNAUTHENTICATED": false, "FORBIDDEN": false, "NOT_JOINED": false,
		"MUTED": false, "BANNED": false,
		"RATE_LIMITED": true, "BUSY": true, "UNAVAILABLE": true, "UNKNOWN_OUTCOME": true, "INTERNAL": true,
	}
	require.Len(t, codes.Errors(), len(clientv1.ErrorCode_name)-1)
	require.Len(t, retryable, len(codes.Errors()))
	for _, c := range codes.Errors() {
		name := codes.ErrorName(c)
		want, known := retryable[name]
		require.True(t, known, name)
		require.Equal(t, want, codes.Retryable(c), name)
		require.NotEmpty(t, codes.ErrorMeaning(c), name)
		back, ok := codes.ParseError(name)
		require.True(t, ok)
		require.Equal(t, c, back)
	}
	for _, none := range []clientv1.ErrorCode{0, -1, 999} {
		require.Empty(t, codes.ErrorName(none))
		require.Empty(t, codes.ErrorMeaning(none))
		require.False(t, codes.Retryable(none))
	}
	for _, name := range []string{"", "UNSPECIFIED", "busy", "ERROR_CODE_BUSY", "NEW"} {
		_, ok := codes.ParseError(name)
		require.False(t, ok, name)
	}
}

func TestEveryCloseCode(t *testing.T) {
	t.Parallel()
	numbers := map[string]int{
		"DRAIN": 4000, "SLOW": 4001, "OVERLOADED": 4002, "TOKEN_EXPIRED": 4003, "INTERNAL": 4004,
		"UNAUTHENTICATED": 4500, "AUTH_TIMEOUT": 4501, "BANNED": 4503, "SESSION_REPLACED": 4504, "ABUSE": 4505,
	}
	require.Len(t, codes.Closes(), len(clientv1.CloseCode_name)-1)
	require.Len(t, numbers, len(codes.Closes()))
	for _, c := range codes.Closes() {
		name := codes.CloseName(c)
		require.Equal(t, numbers[name], int(c), name)
		require.Equal(t, c < 4500, codes.Reconnect(int(c)), name)
		require.NotEmpty(t, codes.CloseMeaning(int(c)), name)
		back, ok := codes.ParseClose(name)
		require.True(t, ok)
		require.Equal(t, c, back)
	}
	_, ok := codes.ParseClose("UNSPECIFIED")
	require.False(t, ok)
	require.Empty(t, codes.CloseName(4499))
	require.Empty(t, codes.CloseMeaning(4499))
}

func TestReconnect(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]bool{
		1000: true, 1001: true, 1002: false, 1003: false, 1005: true, 1006: true, 1007: false, 1008: false, 1009: false, 1010: false,
		1011: true, 1012: true, 1013: true, 1014: true, 3000: true,
		4000: true, 4099: true, 4499: true, 4500: false, 4502: false, 4999: false, 5000: true,
	} {
		require.Equal(t, want, codes.Reconnect(code), code)
	}
}

func TestEveryResetReason(t *testing.T) {
	t.Parallel()
	require.Len(t, codes.Resets(), len(clientv1.ResetReason_name)-1)
	names := []string{}
	for _, r := range codes.Resets() {
		name := codes.ResetName(r)
		names = append(names, name)
		require.NotEmpty(t, codes.ResetMeaning(r), name)
		back, ok := codes.ParseReset(name)
		require.True(t, ok)
		require.Equal(t, r, back)
	}
	require.Equal(t, []string{"rewound", "trimmed", "replay_limit"}, names)
	for _, name := range []string{"", "unspecified", "REWOUND"} {
		_, ok := codes.ParseReset(name)
		require.False(t, ok, name)
	}
	require.Empty(t, codes.ResetName(0))
	require.Empty(t, codes.ResetMeaning(0))
}

func TestEveryEvictionReason(t *testing.T) {
	t.Parallel()
	names := []string{}
	for _, r := range codes.Evictions() {
		name := codes.EvictionName(r)
		names = append(names, name)
		require.NotEmpty(t, codes.EvictionMeaning(r), name)
		back, ok := codes.ParseEviction(name)
		require.True(t, ok)
		require.Equal(t, r, back)
	}
	require.Equal(t, []string{"kicked", "banned", "forbidden"}, names)
	for _, name := range []string{"", "unspecified", "KICKED"} {
		_, ok := codes.ParseEviction(name)
		require.False(t, ok, name)
	}
	require.Empty(t, codes.EvictionName(0))
	require.Empty(t, codes.EvictionMeaning(0))
	require.Equal(t, clientv1.EvictionReason_EVICTION_REASON_BANNED, codes.EvictionOf(clientv1.ErrorCode_ERROR_CODE_BANNED))
	require.Equal(t, clientv1.EvictionReason_EVICTION_REASON_FORBIDDEN, codes.EvictionOf(clientv1.ErrorCode_ERROR_CODE_FORBIDDEN))
	require.Equal(t, clientv1.EvictionReason_EVICTION_REASON_KICKED, codes.EvictionOf(clientv1.ErrorCode_ERROR_CODE_NOT_JOINED))
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	path := filepath.Join("testdata", "codes.md")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(codes.Markdown()), 0o644))
	}
	golden, err := os.ReadFile(path)
	require.NoError(t, err, "run the test with -update")
	require.Equal(t, string(golden), codes.Markdown())
	for _, c := range codes.Errors() {
		require.Contains(t, codes.Markdown(), "`"+codes.ErrorName(c)+"`")
	}
	for line := range strings.Lines(codes.Markdown()) {
		require.NotContains(t, line, "|  |", "an empty cell: %s", line)
	}
}
