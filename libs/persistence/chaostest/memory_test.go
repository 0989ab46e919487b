package chaostest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/memory"
	"github.com/parley-rt/parley/libs/persistence/persistencetest"
)

// overMemory runs a small load over a store in memory that several nodes share, for a moment.
func overMemory(t *testing.T, wrap func(persistence.Backend) persistence.Backend) []persistencetest.Violation {
	t.Helper()
	store := memory.New(memory.Options{Lanes: 2})
	var nodes []*node
	for i := range 3 {
		nodes = append(nodes, &node{name: fmt.Sprintf("node-%d", i), slot: i, Backend: wrap(store)})
	}
	l := newLoad(1, sizes{rooms: 20, readers: 2, sessions: 3, leases: 2, pace: 2 * time.Millisecond, intrude: 3 * time.Millisecond}, nodes)
	require.NoError(t, l.start(t.Context()))
	pause(t.Context(), 500*time.Millisecond)
	back, violations, err := l.finish(t.Context(), store)
	require.NoError(t, err)
	require.NoError(t, store.Close(context.Background()))
	t.Logf("%s; written to again after %v", l.counts.String(), back.Round(time.Millisecond))
	return violations
}

// The load and its checks agree with a store that has no faults.
func TestLoadFindsNothingInMemory(t *testing.T) {
	require.Empty(t, overMemory(t, func(b persistence.Backend) persistence.Backend { return b }))
}

// And they find what is wrong with one that forgets, whoever has seen it.
func TestLoadFindsWhatIsMissing(t *testing.T) {
	require.NotEmpty(t, overMemory(t, persistencetest.Unfenced))
}
