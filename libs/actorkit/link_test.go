package actorkit_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
)

func numbered(i int) actorkit.Frame {
	return actorkit.Frame{Body: binary.BigEndian.AppendUint64(nil, uint64(i))}
}

func number(f actorkit.Frame) int { return int(binary.BigEndian.Uint64(f.Body)) }

func TestFramesArriveInOrderExactlyOnce(t *testing.T) {
	t.Parallel()
	var ra, rb actorkittest.Recorder
	a, b := actorkittest.StartNode(t, "a", &ra), actorkittest.StartNode(t, "b", &rb)
	actorkittest.Mesh(t, a, b)
	const frames = 10_000
	for i := range frames {
		require.NoError(t, a.Send("b", numbered(i)))
		require.NoError(t, b.Send("a", numbered(i)))
	}
	for _, r := range []*actorkittest.Recorder{&ra, &rb} {
		for i, got := range r.WaitFrames(t, frames) {
			require.Equal(t, i, number(got.Frame))
		}
	}
	require.Equal(t, a.Self(), rb.Frames()[0].From)
}
