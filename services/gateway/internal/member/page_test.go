package member

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// A page is at most 1 MiB as the client receives it, however much JSON's escapes make of its bytes; and reading on from
// where it ends misses nothing.
func TestPagesFitAsTheyAreEncoded(t *testing.T) {
	t.Parallel()
	const total = 60
	whole := func() *roomv1.Page {
		p := &roomv1.Page{}
		for seq := uint64(1); seq <= total; seq++ {
			p.Messages = append(p.Messages, &roomv1.Message{Seq: seq, PrevSeq: seq - 1, Content: strings.Repeat("\x01", 10_000)})
		}
		return p
	}
	for name, forward := range map[string]bool{"forward": true, "backward": false} {
		env := fit(historyPage("room", whole()), forward)
		encoded, err := codec.AppendJSON(nil, env)
		require.NoError(t, err)
		require.LessOrEqual(t, len(encoded), 1<<20, name)
		got := env.GetHistoryPage().Messages
		require.True(t, env.GetHistoryPage().More, name)
		require.Greater(t, len(got), 10, name)
		edge := map[bool]uint64{true: got[0].Seq, false: total - got[len(got)-1].Seq + 1}[forward]
		require.Equal(t, uint64(1), edge, "%s: the end that the client asked for is there", name)
		for i := range got[1:] {
			require.Equal(t, got[i].Seq, got[i+1].PrevSeq, name)
		}
	}
	small := historyPage("room", &roomv1.Page{Messages: whole().Messages[:2]})
	require.Len(t, fit(small, true).GetHistoryPage().Messages, 2)
	require.False(t, small.GetHistoryPage().More)
	huge := &roomv1.Page{Messages: []*roomv1.Message{{Seq: 1, Content: strings.Repeat("\x01", 400_000)}}}
	require.Len(t, fit(historyPage("room", huge), true).GetHistoryPage().Messages, 1, "one message always fits")
	require.IsType(t, &clientv1.Envelope_HistoryPage{}, small.Kind)
}
