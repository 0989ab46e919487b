package hub

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	"github.com/parley-rt/parley/services/gateway/internal/ws"
)

// modelSink is a client that applies the protocol's rule to what it gets, in a connection with a small outbox.
type modelSink struct {
	m      *model
	member string
	as     uint64
	number uint64
	// incarnation of the history that it was let into.
	incarnation uint64
	// Whether the room took it out; told is whether the member was told.
	evicted, told bool
	codec         codec.Codec
	limit         int // frames that Offer takes until read
	queued        int
	wait          []ws.Waiter
	gone          bool

	asked    uint64 // cursor that the next room_joined starts from
	cursor   uint64
	got      int
	resets   int
	signals  []string
	comings  []string
	joined   []uint64
	lastSent []byte
	// seen is the stream since it began or was last reset.
	seen []*clientv1.Message
}

func (s *modelSink) Evicted(room string, number uint64) {
	require.Equal(s.m.t, "r", room)
	require.Equal(s.m.t, s.number, number)
	require.True(s.m.t, s.evicted && !s.told, "the client hears of it first, and once")
	s.told = true
}

func (s *modelSink) Codec() codec.Codec { return s.codec }

func (s *modelSink) Send(f []byte) bool {
	s.take(f)
	return true
}

func (s *modelSink) SendAll(fs [][]byte) bool {
	for _, f := range fs {
		s.take(f)
	}
	return true
}

func (s *modelSink) Offer(fs [][]byte, _ int, w ws.Waiter) int {
	n := 0
	for ; n < len(fs) && s.queued < s.limit; n++ {
		s.queued++
		s.take(fs[n])
	}
	if n < len(fs) {
		s.wait = append(s.wait, w)
	}
	return n
}

func (s *modelSink) CloseWith(code clientv1.CloseCode) {
	require.FailNow(s.m.t, "connection was closed", "%v", code)
}

// read empties the outbox.
func (s *modelSink) read() {
	s.queued = 0
	wait := s.wait
	s.wait = nil
	for _, w := range wait {
		sub := w.(*sub)
		sub.topic.Resume(s.m.now, sub)
	}
}

// take applies the client's rule (S5): accept iff prev_seq <= cursor < seq.
func (s *modelSink) take(f []byte) {
	t := s.m.t
	s.lastSent = f
	env, err := s.codec.Decode(unframe(f))
	require.NoError(t, err)
	require.False(t, s.gone && env.GetMessage() != nil, "message after the stream ended")
	switch k := env.GetKind().(type) {
	case *clientv1.Envelope_RoomJoined:
		s.cursor = s.asked
		s.seen = nil
		s.joined = append(s.joined, k.RoomJoined.GetSeq())
	case *clientv1.Envelope_Reset_:
		s.cursor = k.Reset_.GetSeq()
		s.seen = nil
		s.resets++
	case *clientv1.Envelope_RoomLeft:
		require.NotEmpty(t, k.RoomLeft.GetReason())
		s.evicted, s.told, s.gone = true, false, true
		require.True(t, slices.ContainsFunc(s.m.removed, func(r removal) bool {
			return r.member == s.member && (r.incarnation > s.incarnation || r.incarnation == s.incarnation && r.seq > s.as)
		}), "%s was let in as of %d and never taken out since", s.member, s.as)
	case *clientv1.Envelope_Message:
		msg := k.Message
		// S8. Removals of a later incarnation are not before a message that only the lost history had.
		var incarnation uint64
		_, err := fmt.Sscanf(msg.GetMessageId(), "%d-", &incarnation)
		require.NoError(t, err)
		if out := s.m.out(s.member, s.m.removals); s.as < out.seq && out.incarnation <= incarnation {
			require.Less(t, msg.GetSeq(), out.seq, "%s was taken out at %d and let in as of %d", s.member, out.seq, s.as)
		}
		require.LessOrEqual(t, msg.GetPrevSeq(), s.cursor, "gap: message %d after %d at cursor %d", msg.GetSeq(), msg.GetPrevSeq(), s.cursor)
		require.Greater(t, msg.GetSeq(), s.cursor, "repeat: message %d at cursor %d", msg.GetSeq(), s.cursor)
		require.True(t, strings.HasSuffix(msg.GetMessageId(), fmt.Sprintf("-%d", msg.GetSeq())), "foreign message")
		s.cursor = msg.GetSeq()
		s.seen = append(s.seen, msg)
		s.got++
	case *clientv1.Envelope_MemberJoined:
		s.comings = append(s.comings, "+"+k.MemberJoined.GetMemberId()+more(k.MemberJoined.GetMore()))
	case *clientv1.Envelope_MemberLeft:
		s.comings = append(s.comings, "-"+k.MemberLeft.GetMemberId()+more(k.MemberLeft.GetMore()))
	case *clientv1.Envelope_Signal:
		s.signals = append(s.signals, k.Signal.GetContent())
	}
}

func more(n uint32) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" and %d more", n)
}

// agrees checks what the client saw without a reset against the journal (S5, S7).
func (s *modelSink) agrees() {
	ids := map[uint64]string{}
	for _, msg := range s.m.messages {
		ids[msg.GetSeq()] = msg.GetMessageId()
	}
	for _, msg := range s.seen {
		require.Equal(s.m.t, ids[msg.GetSeq()], msg.GetMessageId(), "message %d is not in the journal and no reset said so", msg.GetSeq())
	}
}

// unframe takes the header off a server frame.
func unframe(f []byte) []byte {
	switch f[1] {
	case 126:
		return f[4:]
	case 127:
		return f[10:]
	default:
		return f[2:]
	}
}
