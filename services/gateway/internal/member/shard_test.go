package member

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

// Connections end with the actors that take their turns, and later ones are refused.
func TestNobodyStaysWithoutAShard(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	var there []*connection
	for range 3 * len(s.d.shards) {
		there = append(there, s.connect())
	}
	var ended atomic.Int32
	s.d.ShardEnded = func() { ended.Add(1) }
	for _, shard := range s.d.shards {
		require.NoError(t, shard.Shutdown(context.Background()))
	}
	for _, c := range there {
		require.Nil(t, c.socket.wait(t))
		require.Equal(t, clientv1.CloseCode_CLOSE_CODE_INTERNAL, c.socket.code)
		require.False(t, c.window.take(1, func() {}))
	}
	require.EqualValues(t, len(s.d.shards), ended.Load())
	late := &Member{}
	late.init(s.d, newSocket())
	require.False(t, s.d.Registry.add(late))
	require.False(t, late.tell(&tickMsg{to{late}}))
}

// What arrives after the end is nobody's turn any more.
func TestNothingFollowsTheEnd(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	c := s.connect()
	c.send(`{"ping":{}}`)
	require.NotNil(t, c.socket.wait(t).GetSession())
	require.NotNil(t, c.socket.wait(t).GetPong())
	c.close()
	id := newSessionID()
	require.True(t, c.tell(&openedMsg{to{&c.Member}, Opened{id: id, ID: "x", Generation: 1}}))
	require.True(t, c.tell(&drainMsg{to{&c.Member}, 1}))
	require.Eventually(t, c.gone, 10*time.Second, time.Millisecond)
	other := s.connect()
	for other.shard() != c.shard() {
		other = s.connect()
	}
	other.send(`{"ping":{}}`)
	require.NotNil(t, other.socket.wait(t).GetSession())
	require.NotNil(t, other.socket.wait(t).GetPong())
	require.Len(t, s.d.Registry.held(), 1)
	require.Empty(t, c.socket.frames)
}

func TestEachPartOfTheRegistryIsOneShards(t *testing.T) {
	t.Parallel()
	for processors := 1; processors < 300; processors++ {
		n := shardCount(processors)
		require.Zero(t, registryShards%n, processors)
		require.GreaterOrEqual(t, n, min(shardsEach*processors, registryShards))
	}
}
