package persistencetest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

var appendTests = []namedTest{
	{"round trip", appendRoundTrip},
	{"largest payload", appendLargest},
	{"payloads from nothing to 8 MiB", appendSizes},
	{"owns nothing afterwards", appendOwnsNothing},
	{"other expected position", appendConflict},
	{"all or nothing", appendAtomic},
	{"streams are apart", appendStreams},
	{"same expected position many times at once", appendSameExpected},
	{"two epochs of one stream at once", appendTwoEpochs},
	{"several appends of one claim at once", appendInFlight},
	{"what cannot be stored is refused, and harms no other", appendPoison},
}

func appendRoundTrip(b *bench) {
	c := b.claim("room/1", "node-a")
	in := []persistence.Event{
		{MessageID: [16]byte{1}, Manifest: "test.v1.A", Codec: persistence.CodecProto, Payload: []byte("one"), Meta: []byte("meta")},
		{MessageID: [16]byte{2}, Manifest: "test.v1.B", Codec: persistence.CodecRaw, Payload: nil},
		{MessageID: [16]byte{3}, Manifest: "", Codec: 32767, Payload: []byte{0, 1, 0, 255}, Meta: []byte{}},
		{Manifest: "täst.v1.Ä", Payload: []byte("ende"), Seq: 99, Epoch: 99},
	}
	b.append(c, 0, in...)
	out := b.all("room/1")
	require.Len(b, out, len(in))
	for i, e := range out {
		require.EqualValues(b, i+1, e.Seq)
		require.Equal(b, c.Epoch, e.Epoch, "seq and epoch are the journal's")
		b.expiresIn(0, e.At)
		require.Equal(b, in[i].MessageID, e.MessageID)
		require.Equal(b, in[i].Manifest, e.Manifest)
		require.Equal(b, in[i].Codec, e.Codec)
		require.True(b, bytes.Equal(in[i].Payload, e.Payload))
		require.True(b, bytes.Equal(in[i].Meta, e.Meta))
	}
	h, err := b.Head(b.Context(), "room/1")
	require.NoError(b, err)
	require.EqualValues(b, len(in), h.LastSeq)
}

func appendLargest(b *bench) {
	c := b.claim("room/1", "node-a")
	e := newEvent("")
	e.Payload = bytes.Repeat([]byte("0123456789abcdef"), persistence.MaxPayloadBytes/16)
	b.append(c, 0, newEvent("before"), e, newEvent("after"))
	out := b.all("room/1")
	require.Len(b, out, 3)
	require.True(b, bytes.Equal(e.Payload, out[1].Payload))
	require.Equal(b, "after", string(out[2].Payload))
}

func appendSizes(b *bench) {
	sizes := []int{0, 1, 255, 64 << 10, 1 << 20, persistence.MaxPayloadBytes, 0}
	c := b.claim("room/1", "node-a")
	for i, size := range sizes {
		e := newEvent("")
		e.Payload = bytes.Repeat([]byte{byte(i + 1)}, size)
		b.append(c, uint64(i), e)
	}
	for i, e := range b.all("room/1") {
		require.True(b, bytes.Equal(bytes.Repeat([]byte{byte(i + 1)}, sizes[i]), e.Payload), "%d bytes", sizes[i])
	}
	b.replays(b.claim("room/1", "node-b"), 0)
}

func appendOwnsNothing(b *bench) {
	c := b.claim("room/1", "node-a")
	e := newEvent("payload")
	e.Meta = []byte("meta")
	b.append(c, 0, e)
	clear(e.Payload)
	clear(e.Meta)
	out := b.all("room/1")
	require.Equal(b, "payload", string(out[0].Payload))
	require.Equal(b, "meta", string(out[0].Meta))
	clear(out[0].Payload)
	require.Equal(b, "payload", string(b.all("room/1")[0].Payload), "what is read is the reader's")
}

func appendConflict(b *bench) {
	c := b.filled("room/1", 2)
	for _, expected := range []uint64{0, 1, 3, 1 << 62, 1<<64 - 1} {
		_, err := b.Append(b.Context(), c, expected, newEvents(1))
		require.ErrorIs(b, err, persistence.ErrConflict, "expected %d", expected)
		require.NotErrorIs(b, err, persistence.ErrFenced)
	}
	require.Len(b, b.all("room/1"), 2)
	b.append(c, 2, newEvent("a conflict costs nothing"))
}

func appendAtomic(b *bench) {
	c := b.claim("room/1", "node-a")
	b.append(c, 0, newEvents(persistence.MaxAppendEvents)...)
	require.Len(b, b.all("room/1"), persistence.MaxAppendEvents)

	_, err := b.Append(b.Context(), c, 1, newEvents(100))
	require.ErrorIs(b, err, persistence.ErrConflict)
	require.Len(b, b.all("room/1"), persistence.MaxAppendEvents)
}

func appendStreams(b *bench) {
	one, two := b.claim("room/1", "node-a"), b.claim("room/2", "node-a")
	b.append(one, 0, newEvent("one"))
	b.append(two, 0, newEvent("two"), newEvent("two"))
	b.append(one, 1, newEvent("one"), newEvent("one"))
	require.Equal(b, []uint64{1, 2, 3}, seqs(b.all("room/1")))
	require.Equal(b, []uint64{1, 2}, seqs(b.all("room/2")))
	for _, e := range b.all("room/1") {
		require.Equal(b, "one", string(e.Payload))
	}
}

func appendSameExpected(b *bench) {
	c := b.claim("room/1", "node-a")
	var won atomic.Int32
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			switch _, err := b.Append(b.Context(), c, 0, newEvents(2)); {
			case err == nil:
				won.Add(1)
			default:
				requireIs(b, err, persistence.ErrConflict)
			}
		})
	}
	group.Wait()
	require.EqualValues(b, 1, won.Load())
	require.Len(b, b.all("room/1"), 2)
}

// appendTwoEpochs: an old and a new activation of one stream write at the same moment, so that their appends meet in one
// transaction of a backend that groups them. The winner's success must not let the loser's events in, nor those of a loser
// that expects another head, whose events would be in nobody's way.
func appendTwoEpochs(b *bench) {
	for round := range 30 {
		old := b.claim("room/1", "node-a")
		now := b.claim("room/1", "node-b")
		head := now.LastSeq
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() {
				_, err := b.Append(b.Context(), old, head+uint64(i%3), []persistence.Event{newEvent("loser"), newEvent("loser")})
				requireIs(b, err, persistence.ErrFenced)
			})
			if i == 4 {
				group.Go(func() {
					_, err := b.Append(b.Context(), now, head, []persistence.Event{newEvent("winner")})
					requireIs(b, err, nil)
				})
			}
		}
		group.Wait()
		events := b.all("room/1")
		require.Len(b, events, round+1)
		require.Equal(b, "winner", string(events[round].Payload))
	}
}

// appendInFlight: a claim that does not wait for its appends loses nothing that was acknowledged; the first one that comes
// too early is a conflict, and so are those behind it.
func appendInFlight(b *bench) {
	const inFlight = 4
	h := NewHistory()
	for i := range 30 {
		key := persistence.StreamKey(fmt.Sprintf("room/%d", i%3))
		c, err := h.Claim(b.Context(), b, fmt.Sprintf("activation-%d", i), key, "node-a", persistence.ClaimOptions{})
		require.NoError(b, err)
		var group sync.WaitGroup
		var first atomic.Bool
		for j := range uint64(inFlight) {
			group.Go(func() {
				_, err := h.Append(b.Context(), b, fmt.Sprintf("activation-%d", i), c, c.LastSeq+2*j, newEvents(2))
				if j == 0 {
					first.Store(err == nil)
				} else if err != nil {
					requireIs(b, err, persistence.ErrConflict)
				}
			})
		}
		group.Wait()
		require.True(b, first.Load(), "nothing is in the way of the first")
	}
	b.holds(h)
}

// appendPoison: requests that a database would choke on come at the same moment as good ones.
func appendPoison(b *bench) {
	const streams, rounds = 24, 10
	bad := []string{"test.v1.\xff\xfe", "test.v1.\x00", "\x00", "\xc3\x28"}
	var group sync.WaitGroup
	for i := range streams {
		c := b.claim(persistence.StreamKey(fmt.Sprintf("room/%d", i)), "node-a")
		group.Go(func() {
			for head := range uint64(rounds) {
				events := newEvents(3)
				if i%4 == 0 {
					events[1].Manifest = bad[i/4%len(bad)]
					_, err := b.Append(b.Context(), c, 0, events)
					requireIs(b, err, persistence.ErrInvalid)
					requireIs(b, b.SaveSnapshot(b.Context(), c, persistence.Snapshot{Seq: 1, Manifest: events[1].Manifest}), persistence.ErrInvalid)
					continue
				}
				events[1].Meta, events[1].Payload = []byte{0, 0xff, 0xfe}, []byte{0, 0xc3, 0x28} // these are bytes
				_, err := b.Append(b.Context(), c, 3*head, events)
				requireIs(b, err, nil)
			}
		})
	}
	group.Wait()
	for i := range streams {
		want := 3 * rounds
		if i%4 == 0 {
			want = 0
		}
		require.Len(b, b.all(persistence.StreamKey(fmt.Sprintf("room/%d", i))), want)
	}
}

// requireIs is for other goroutines than the test's, where FailNow must not be called.
func requireIs(b *bench, err, want error) {
	if want == nil && err != nil || want != nil && !errors.Is(err, want) {
		b.Errorf("got %v, want %v", err, want)
	}
}
