package actorkit

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	linkv1 "github.com/parley-rt/parley/libs/protocol/link/v1"
)

func TestInboxJudges(t *testing.T) {
	t.Parallel()
	batch := func(life string, number uint64, frames int) *linkv1.Batch {
		return &linkv1.Batch{
			FromNode: "n", FromIncarnation: life, ToIncarnation: "me", Number: number, Frames: make([]*linkv1.Frame, frames),
		}
	}
	for name, c := range map[string]struct {
		before []*linkv1.Batch
		b      *linkv1.Batch
		want   verdict
	}{
		"first of a life, any number":   {nil, batch("x", 7, 1), verdict{}},
		"next":                          {[]*linkv1.Batch{batch("x", 1, 1)}, batch("x", 2, 1), verdict{}},
		"repeated":                      {[]*linkv1.Batch{batch("x", 1, 1), batch("x", 2, 1)}, batch("x", 2, 1), verdict{repeated: true}},
		"late":                          {[]*linkv1.Batch{batch("x", 1, 1), batch("x", 4, 1)}, batch("x", 3, 1), verdict{repeated: true}},
		"skipped":                       {[]*linkv1.Batch{batch("x", 1, 0)}, batch("x", 4, 1), verdict{lost: fmt.Errorf("batches 2 to 3 are missing")}},
		"new life after heartbeats":     {[]*linkv1.Batch{batch("x", 1, 0)}, batch("y", 1, 0), verdict{}},
		"new life after frames":         {[]*linkv1.Batch{batch("x", 1, 2), batch("x", 2, 0)}, batch("y", 9, 0), verdict{lost: fmt.Errorf("incarnation y replaced x")}},
		"new life, second batch":        {[]*linkv1.Batch{batch("x", 1, 2), batch("y", 1, 0)}, batch("y", 2, 0), verdict{}},
		"old life after it was left":    {[]*linkv1.Batch{batch("x", 1, 0), batch("y", 1, 0)}, batch("x", 2, 1), verdict{refused: "incarnation x was replaced by y"}},
		"another node is another story": {[]*linkv1.Batch{batch("x", 1, 1)}, &linkv1.Batch{FromNode: "m", FromIncarnation: "z", ToIncarnation: "me", Number: 5}, verdict{}},
		"wrong life of ours":            {nil, &linkv1.Batch{FromNode: "n", FromIncarnation: "x", ToIncarnation: "you", Number: 1}, verdict{refused: "meant for incarnation you, this is me"}},
		"no sender":                     {nil, &linkv1.Batch{ToIncarnation: "me", Number: 1}, verdict{refused: "batch without sender or number"}},
		"no number":                     {nil, batch("x", 0, 0), verdict{refused: "batch without sender or number"}},
		"too many frames":               {nil, batch("x", 1, maxBatchFrames+1), verdict{refused: "batch of 8193 frames, at most 8192"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := newInbox("me")
			for _, b := range c.before {
				require.Empty(t, in.judge(b).refused)
			}
			require.Equal(t, c.want, in.judge(c.b))
		})
	}
}

func TestInboxRefusalLeavesNoTrace(t *testing.T) {
	t.Parallel()
	in := newInbox("me")
	require.Zero(t, in.judge(&linkv1.Batch{FromNode: "n", FromIncarnation: "x", ToIncarnation: "me", Number: 1}))
	require.NotEmpty(t, in.judge(&linkv1.Batch{FromNode: "n", FromIncarnation: "x", ToIncarnation: "you", Number: 2}).refused)
	require.Zero(t, in.judge(&linkv1.Batch{FromNode: "n", FromIncarnation: "x", ToIncarnation: "me", Number: 2}))
}

func TestInboxIsBounded(t *testing.T) {
	t.Parallel()
	in := newInbox("me")
	for i := range maxSenders + 10 {
		in.judge(&linkv1.Batch{FromNode: fmt.Sprint(i), FromIncarnation: "x", ToIncarnation: "me", Number: 1})
	}
	require.Len(t, in.senders, maxSenders)
	for i := range 3 * maxPastLives {
		in.judge(&linkv1.Batch{FromNode: "n", FromIncarnation: fmt.Sprint(i), ToIncarnation: "me", Number: 1})
	}
	require.Len(t, in.senders["n"].past, maxPastLives)
}
