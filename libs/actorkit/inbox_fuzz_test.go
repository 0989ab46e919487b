package actorkit

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	linkv1 "github.com/parley-rt/parley/libs/protocol/link/v1"
)

// Whatever batches come, in whatever order: of one life of a sender a number is handed over at most once and in order, one that was
// replaced hands over nothing any more, and what is remembered is bounded.
func FuzzInbox(f *testing.F) {
	seed := func(batches ...*linkv1.Batch) {
		var b bytes.Buffer
		for _, one := range batches {
			_, err := protodelim.MarshalTo(&b, one)
			require.NoError(f, err)
		}
		f.Add(b.Bytes())
	}
	one := &linkv1.Batch{FromNode: "a", FromIncarnation: "1", ToIncarnation: "me", Number: 1, Frames: []*linkv1.Frame{{Body: []byte("x")}}}
	edited := func(edit func(b *linkv1.Batch)) *linkv1.Batch {
		b := proto.CloneOf(one)
		edit(b)
		return b
	}
	two, gap := edited(func(b *linkv1.Batch) { b.Number = 2 }), edited(func(b *linkv1.Batch) { b.Number = 9 })
	reborn := edited(func(b *linkv1.Batch) { b.FromIncarnation = "2" })
	seed(one, two, one, gap, two)
	seed(one, reborn, two, reborn)
	seed(edited(func(b *linkv1.Batch) { b.ToIncarnation = "another" }), edited(func(b *linkv1.Batch) { b.FromNode = "" }))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		in := newInbox("me")
		last := map[string]uint64{} // number handed over, by node and life
		replaced := map[string]bool{}
		life := map[string]string{}
		for r := bytes.NewReader(data); ; {
			b := &linkv1.Batch{}
			if err := (protodelim.UnmarshalOptions{MaxSize: 1 << 16}).UnmarshalFrom(r, b); err != nil {
				break
			}
			v := in.judge(b)
			require.LessOrEqual(t, len(in.senders), maxSenders)
			if s := in.senders[b.GetFromNode()]; s != nil {
				require.LessOrEqual(t, len(s.past), maxPastLives)
			}
			if v.refused != "" || v.repeated {
				continue
			}
			require.Equal(t, "me", b.GetToIncarnation())
			key := b.GetFromNode() + "\x00" + b.GetFromIncarnation()
			require.Greater(t, b.GetNumber(), last[key], "handed over twice, or late")
			last[key] = b.GetNumber()
			if before := life[b.GetFromNode()]; before != "" && before != b.GetFromIncarnation() {
				replaced[b.GetFromNode()+"\x00"+before] = true
			}
			life[b.GetFromNode()] = b.GetFromIncarnation()
			if len(replaced) <= maxPastLives { // older ones are forgotten
				require.False(t, replaced[key], "a life that is over handed something over")
			}
		}
	})
}
