package persistencetest

import (
	"errors"
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

var peekTests = []namedTest{
	{"a stream never claimed", peekNothing},
	{"snapshot and tail, and the writer goes on", peekTail},
	{"beside a writer that appends, snapshots and trims", peekBeside},
}

func peekNothing(b *bench) {
	h, rec, err := persistence.Peek(b.Context(), b.Backend, "room/1")
	require.NoError(b, err)
	require.Zero(b, h.Epoch)
	require.Equal(b, persistence.Recovery{}, rec)
}

func peekTail(b *bench) {
	c := b.filled("room/1", 8)
	b.snapshot(c, 3, "older")
	b.snapshot(c, 5, "state")
	h, rec, err := persistence.Peek(b.Context(), b.Backend, "room/1")
	require.NoError(b, err)
	require.Equal(b, c.Epoch, h.Epoch)
	require.Equal(b, c.Incarnation, h.Incarnation)
	require.EqualValues(b, 8, h.LastSeq)
	require.Equal(b, c.Owner, h.Owner)
	require.EqualValues(b, 5, rec.Snapshot.Seq)
	require.EqualValues(b, 3, rec.Previous.Seq)
	require.Equal(b, []uint64{6, 7, 8}, seqs(rec.Tail))

	b.append(c, 8, newEvent("the writer was not disturbed"))
}

// peekBeside: a peek finds a contiguous way to some head of the stream, whatever its writer does meanwhile.
func peekBeside(b *bench) {
	c := b.filled("room/1", 5)
	done := make(chan error, 1)
	go func() {
		done <- func() error {
			for seq := uint64(5); seq < 45; seq++ {
				if _, err := b.Append(b.Context(), c, seq, []persistence.Event{newEvent(fmt.Sprint(seq))}); err != nil {
					return err
				}
				if seq%2 == 0 {
					continue
				}
				if err := b.SaveSnapshot(b.Context(), c, persistence.Snapshot{Seq: seq, Payload: []byte("state")}); err != nil {
					return err
				}
				if err := b.Trim(b.Context(), c, seq-1); err != nil {
					return err
				}
			}
			return nil
		}()
	}()
	found := 0
	for {
		h, rec, err := persistence.Peek(b.Context(), b.Backend, "room/1")
		if err != nil {
			require.True(b, errors.Is(err, persistence.ErrCorrupt) || errors.Is(err, persistence.ErrTrimmed), "%v", err)
		} else {
			found++
			at := rec.Snapshot.Seq
			for _, e := range rec.Tail {
				require.Equal(b, at+1, e.Seq)
				at = e.Seq
			}
			require.Equal(b, h.LastSeq, at)
		}
		select {
		case err := <-done:
			require.NoError(b, err)
			require.NotZero(b, found)
			h, rec, err := persistence.Peek(b.Context(), b.Backend, "room/1")
			require.NoError(b, err)
			require.EqualValues(b, 45, h.LastSeq)
			require.EqualValues(b, 43, rec.Snapshot.Seq)
			return
		default:
		}
	}
}
