package core

import (
	"testing"

	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// S5, S7: a member's stream continues its cursor or says why it does not.
func TestResolve(t *testing.T) {
	t.Parallel()
	const (
		rewound = clientv1.ResetReason_RESET_REASON_REWOUND
		trimmed = clientv1.ResetReason_RESET_REASON_TRIMMED
		limit   = clientv1.ResetReason_RESET_REASON_REPLAY_LIMIT
	)
	facts := Facts{Incarnation: 7, Head: 20_000, Trimmed: 9_000}
	for name, c := range map[string]struct {
		cursor  *roomv1.Cursor
		stored  string // message id at the cursor
		replay  uint32
		needs   bool
		want    Position
		trimmed uint64
	}{
		"none starts at the head":         {want: Position{Cursor: 20_000}},
		"at the head":                     {cursor: &roomv1.Cursor{AfterSeq: 20_000}, want: Position{Cursor: 20_000, Recovered: true}},
		"beyond the head":                 {cursor: &roomv1.Cursor{AfterSeq: 20_001}, want: Position{Cursor: 20_000, Reset: rewound}},
		"another incarnation":             {cursor: &roomv1.Cursor{AfterSeq: 15_000, Incarnation: 8, AfterMessageId: "m"}, want: Position{Cursor: 20_000, Reset: rewound}},
		"same incarnation":                {cursor: &roomv1.Cursor{AfterSeq: 15_000, Incarnation: 7}, want: Position{Cursor: 15_000, Recovered: true}},
		"the message it received":         {cursor: &roomv1.Cursor{AfterSeq: 15_000, AfterMessageId: "m"}, stored: "m", needs: true, want: Position{Cursor: 15_000, Recovered: true}},
		"another message there":           {cursor: &roomv1.Cursor{AfterSeq: 15_000, AfterMessageId: "m"}, stored: "n", needs: true, want: Position{Cursor: 20_000, Reset: rewound}},
		"no message there":                {cursor: &roomv1.Cursor{AfterSeq: 15_000, AfterMessageId: "m"}, needs: true, want: Position{Cursor: 20_000, Reset: rewound}},
		"message is trimmed, cursor not":  {cursor: &roomv1.Cursor{AfterSeq: 15_000, AfterMessageId: "m"}, trimmed: 15_000, want: Position{Cursor: 15_000, Recovered: true}},
		"exactly the limit":               {cursor: &roomv1.Cursor{AfterSeq: 10_000}, want: Position{Cursor: 10_000, Recovered: true}},
		"over the limit":                  {cursor: &roomv1.Cursor{AfterSeq: 9_999}, want: Position{Cursor: 20_000, Reset: limit}},
		"own limit":                       {cursor: &roomv1.Cursor{AfterSeq: 19_000}, replay: 999, want: Position{Cursor: 20_000, Reset: limit}},
		"trimmed and over the limit":      {cursor: &roomv1.Cursor{AfterSeq: 1}, want: Position{Cursor: 20_000, Reset: limit}},
		"trimmed":                         {cursor: &roomv1.Cursor{AfterSeq: 1}, trimmed: 19_990, want: Position{Cursor: 19_990, Reset: trimmed}},
		"trimmed up to the cursor":        {cursor: &roomv1.Cursor{AfterSeq: 19_990}, trimmed: 19_990, want: Position{Cursor: 19_990, Recovered: true}},
		"from the oldest, something gone": {cursor: &roomv1.Cursor{}, trimmed: 19_990, want: Position{Cursor: 19_990, Reset: trimmed}},
	} {
		f := facts
		f.ReplayLimit, f.MessageID = c.replay, c.stored
		if c.trimmed != 0 {
			f.Trimmed = c.trimmed
		}
		require.Equal(t, c.needs, NeedsMessage(c.cursor, f), name)
		require.Equal(t, c.want, Resolve(c.cursor, f), name)
	}
	require.Equal(t, Position{Recovered: true}, Resolve(&roomv1.Cursor{}, Facts{}), "an empty room from its beginning")
}
