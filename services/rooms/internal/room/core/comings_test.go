package core

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestComings(t *testing.T) {
	t.Parallel()
	var c Comings
	require.True(t, c.Empty())
	c.Note("ada", false, true)
	c.Note("bob", true, false)
	c.Note("eve", false, true)
	c.Note("eve", true, false) // and gone again
	c.Note("dan", true, true)
	require.False(t, c.Empty())
	m := c.Take(10)
	require.Equal(t, []string{"ada"}, m.Joined)
	require.Equal(t, []string{"bob"}, m.Left)
	require.Zero(t, m.JoinedMore+m.LeftMore)
	require.True(t, c.Empty())
}

// A crowd is named as far as it can be told of without flooding those who are there; nobody is left out of the count.
func TestComingsOfACrowd(t *testing.T) {
	t.Parallel()
	for _, size := range []struct{ connections, named int }{
		{0, comingsNamed}, {100, comingsNamed}, {1000, 24}, {10_000, 2}, {100_000, 2},
	} {
		var c Comings
		for n := range 3000 {
			c.Note(fmt.Sprint("in", n), false, true)
			c.Note(fmt.Sprint("out", n), true, false)
		}
		require.Len(t, c.members, comingsKept)
		m := c.Take(size.connections)
		require.LessOrEqual(t, len(m.Joined)+len(m.Left), size.named)
		require.NotEmpty(t, m.Joined)
		require.NotEmpty(t, m.Left)
		require.Equal(t, 3000, len(m.Joined)+int(m.JoinedMore))
		require.Equal(t, 3000, len(m.Left)+int(m.LeftMore))
		if deliveries := (len(m.Joined) + len(m.Left)) * size.connections; size.connections <= comingsDeliveries/2 {
			require.LessOrEqual(t, deliveries, comingsDeliveries)
		}
	}
}

// Whoever applies the reports to whom was there before knows who is there now.
func TestComingsAddUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var c Comings
		in, told := map[string]bool{}, map[string]bool{}
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			member := rapid.SampledFrom([]string{"ada", "bob", "eve"}).Draw(t, "member")
			after := rapid.Bool().Draw(t, "in")
			c.Note(member, in[member], after)
			in[member] = after
			if rapid.IntRange(0, 4).Draw(t, "report") == 0 {
				m := c.Take(1)
				for _, member := range m.Joined {
					require.False(t, told[member])
					told[member] = true
				}
				for _, member := range m.Left {
					require.True(t, told[member])
					told[member] = false
				}
				for member := range in {
					require.Equal(t, in[member], told[member])
				}
			}
		}
	})
}
