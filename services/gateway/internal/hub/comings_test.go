package hub

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/protocol/codec"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// Who comes and goes is told to everybody else, in each one's encoding; the last named of a kind says how many more there are.
func TestMembersChanged(t *testing.T) {
	t.Parallel()
	m, x, y := removals(t)
	b := m.sink("b", codec.Binary{}, 100)
	m.join(b, nil)()
	m.pump()
	made := m.topic.MembersChanged(&roomv1.MembersChanged{
		Epoch: 1, Joined: []string{"new", "x"}, JoinedMore: 7, Left: []string{"old"}, LeftMore: 0,
	})
	require.Equal(t, 8, made)
	require.Equal(t, []string{"+new", "-old"}, x.comings, "not of itself")
	require.Equal(t, []string{"+new", "+x and 7 more", "-old"}, y.comings)
	require.Equal(t, y.comings, b.comings)

	require.Zero(t, m.topic.MembersChanged(&roomv1.MembersChanged{Epoch: 0, Joined: []string{"late"}}), "of an earlier writer")
	require.Zero(t, m.topic.MembersChanged(&roomv1.MembersChanged{Epoch: 1, Joined: []string{"\xff"}}))

	z := m.sink("z", codec.JSON{}, 100)
	late := m.join(z, nil)
	m.remove("x")
	m.pump()
	late() // held
	m.topic.MembersChanged(&roomv1.MembersChanged{Epoch: 1, Joined: []string{"new"}})
	require.Empty(t, z.comings)
}
