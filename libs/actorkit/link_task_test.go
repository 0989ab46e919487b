package actorkit

import (
	"context"
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	linkv1 "github.com/parley-rt/parley/libs/protocol/link/v1"
)

func TestExchangeRepeatsOnceAfterABrokenConnection(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		first error
		asks  int
	}{
		"answered":     {nil, 1},
		"closed":       {fmt.Errorf("read: %w", io.EOF), 2},
		"cut":          {io.ErrUnexpectedEOF, 2},
		"reset":        {fmt.Errorf("read: %w", syscall.ECONNRESET), 2},
		"broken pipe":  {syscall.EPIPE, 2},
		"refused":      {syscall.ECONNREFUSED, 1},
		"out of time":  {context.DeadlineExceeded, 1},
		"other errors": {fmt.Errorf("actor not found"), 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asks := 0
			reply, err := exchange(t.Context(), time.Minute, func(ctx context.Context, timeout time.Duration) (any, error) {
				asks++
				_, bounded := ctx.Deadline()
				require.True(t, bounded)
				require.LessOrEqual(t, timeout, time.Minute)
				if asks == 1 {
					return nil, c.first
				}
				return "second", nil
			})
			require.Equal(t, c.asks, asks)
			if c.asks == 2 {
				require.NoError(t, err)
				require.Equal(t, "second", reply)
			} else {
				require.Equal(t, c.first, err)
			}
		})
	}
	asks := 0
	_, err := exchange(t.Context(), time.Minute, func(context.Context, time.Duration) (any, error) {
		asks++
		return nil, io.EOF
	})
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 2, asks, "and no more")
}

func TestReplies(t *testing.T) {
	t.Parallel()
	peer := Peer{Incarnation: "x"}
	require.NoError(t, checkReply(&linkv1.BatchReply{Incarnation: "x"}, peer))
	for _, bad := range []any{nil, &linkv1.Batch{}, &linkv1.BatchReply{Incarnation: "y"}, &linkv1.BatchReply{Incarnation: "x", Refused: "no"}} {
		require.ErrorIs(t, checkReply(bad, peer), ErrRefused)
	}
}

func TestPanickingTaskIsAResult(t *testing.T) {
	t.Parallel()
	var got error
	func() {
		defer recoverTask(func(err error) { got = err })
		panic("oops")
	}()
	require.ErrorContains(t, got, "oops")
}
