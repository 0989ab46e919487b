package parley

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStreamJudges(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		s         stream
		seq, prev uint64
		want      verdict
	}{
		{"next", stream{placed: true, cursor: Cursor{Seq: 5}}, 6, 5, accept},
		{"next with holes", stream{placed: true, cursor: Cursor{Seq: 5}}, 9, 3, accept},
		{"first of a room", stream{placed: true}, 1, 0, accept},
		{"at the cursor", stream{placed: true, cursor: Cursor{Seq: 5}}, 5, 4, drop},
		{"behind", stream{placed: true, cursor: Cursor{Seq: 5}}, 4, 3, drop},
		{"behind a gap", stream{placed: true, cursor: Cursor{Seq: 5}}, 8, 7, missing},
		{"while a gap is mended", stream{placed: true, gap: true, cursor: Cursor{Seq: 5}}, 6, 5, drop},
		{"before the room answered", stream{}, 6, 5, drop},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := tc.s
			require.Equal(t, tc.want, s.judge(tc.seq, tc.prev))
			require.Equal(t, tc.s.cursor, s.cursor, "judging moves nothing")
		})
	}
}

func TestStreamIsPlacedByTheFirstJoin(t *testing.T) {
	t.Parallel()
	var s stream
	s.joined(7, 3, false)
	require.Equal(t, stream{placed: true, cursor: Cursor{Seq: 7, Incarnation: 3}, incarnation: 3}, s)
	// Later joins leave the cursor; it adopts the room's incarnation when it is known to belong to it.
	s.advance(9, "id")
	s.joined(20, 4, false)
	require.Equal(t, Cursor{Seq: 9, MessageID: "id", Incarnation: 3}, s.cursor)
	s.reset(20)
	require.Equal(t, Cursor{Seq: 20, Incarnation: 4}, s.cursor)
	s.joined(20, 5, true)
	require.Equal(t, Cursor{Seq: 20, Incarnation: 5}, s.cursor)
}

// randomOps gives every run of the tests some inputs that no one thought of, always the same ones.
func randomOps(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	ops := make([]byte, 50+r.IntN(350))
	for i := range ops {
		ops[i] = byte(r.Uint32())
	}
	return ops
}

// FuzzStream has a server that loses, repeats and reorders deliveries as the input says. Whatever it does, the client must
// accept a contiguous run of the room's messages, and all of them once the server behaves.
func FuzzStream(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 1, 2, 3, 4, 5})
	f.Add([]byte("\x00\x00\x03\x03\x03\x01\x02\xf0\x81\x42"))
	for seed := range uint64(300) {
		f.Add(randomOps(seed))
	}
	f.Fuzz(func(t *testing.T, ops []byte) {
		ops = ops[:min(len(ops), 500)] // longer ones only cost time
		// The room: messages at seqs with holes.
		type message struct{ seq, prev uint64 }
		var room []message
		last, head := uint64(0), uint64(0)
		post := func(hole uint64) {
			head += 1 + hole
			room = append(room, message{head, last})
			last = head
		}
		post(0)
		var s stream
		s.joined(head, 1, false)
		from := len(room) // the client starts at the head
		accepted := []message{}
		behind := 0 // index of the next message on the server's side of the stream
		rejoin := func() {
			for behind = 0; behind < len(room) && room[behind].seq <= s.cursor.Seq; behind++ {
			}
			s.joined(head, 1, true)
		}
		deliver := func(m message) {
			switch s.judge(m.seq, m.prev) {
			case accept:
				s.advance(m.seq, "")
				accepted = append(accepted, m)
			case missing:
				rejoin()
			case drop:
			}
		}
		behind = from
		for _, op := range ops {
			post(uint64(op>>6) & 1)
			switch op & 7 {
			case 0, 1, 2: // in order
				if behind < len(room) {
					behind++
					deliver(room[behind-1])
				}
			case 3: // lost
				behind = min(behind+1, len(room))
			case 4: // any message at all
				deliver(room[int(op>>3)%len(room)])
			case 5: // the newest
				deliver(room[len(room)-1])
			case 6: // a new connection
				rejoin()
			case 7: // from far behind
				behind = max(0, behind-int(op>>3))
			}
		}
		rejoin()
		for behind < len(room) {
			behind++
			deliver(room[behind-1])
		}
		require.Equal(t, room[from:], accepted)
	})
}
