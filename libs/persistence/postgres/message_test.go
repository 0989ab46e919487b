package postgres

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMessageMemory(t *testing.T) {
	t.Parallel()
	m := &messageMemory{size: 1000}
	first, err := m.Encode(nil)
	require.NoError(t, err)
	require.Empty(t, first)
	require.GreaterOrEqual(t, cap(first), 1000)
	again, err := m.Encode(nil)
	require.NoError(t, err)
	require.Same(t, &first[:1][0], &again[:1][0], "the next message has the same memory")

	queued := []byte("sync")
	out, err := m.Encode(queued)
	require.NoError(t, err)
	require.Equal(t, queued, out, "what was to be sent stays")
	require.GreaterOrEqual(t, cap(out), 1004)

	m.size = 4 * keptMessage
	huge, err := m.Encode(nil)
	require.NoError(t, err)
	require.GreaterOrEqual(t, cap(huge), m.size)
	m.size = 1000
	small, err := m.Encode(nil)
	require.NoError(t, err)
	require.LessOrEqual(t, cap(small), keptMessage, "a huge message's memory is not kept")
}

// TestMemoryStaysWithALostConnection: pgx may still write into what a connection was given that has failed.
func TestMemoryStaysWithALostConnection(t *testing.T) {
	t.Parallel()
	m := &messageMemory{size: 1000}
	lost, err := m.Encode(nil)
	require.NoError(t, err)
	m.forget()
	next, err := m.Encode(nil)
	require.NoError(t, err)
	require.NotSame(t, &lost[:1][0], &next[:1][0])
}
