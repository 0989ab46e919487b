package core

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"

	"github.com/parley-rt/parley/libs/persistence"
)

const maxContent = 1000

func draftOf(messageID, content string) *roomv1.Draft {
	return &roomv1.Draft{MessageId: messageID, Content: content, SentAt: timestamppb.New(epochTime)}
}

// commit numbers and applies what a draft decided, as actorkit.Persistent does.
func commit(t require.TestingT, s *State, events []persistence.Event, at time.Time) []persistence.Event {
	for i := range events {
		events[i].Seq, events[i].At = s.Head()+1, at
		require.NoError(t, s.Apply(events[i]))
	}
	return events
}

// seats are members and the seq as of which each is in the room, with one session.
type seats map[string]uint64

func (s seats) Seated(member string, after uint64) bool {
	since, ok := s[member]
	return ok && since >= after
}

type everybodyIn struct{}

func (everybodyIn) Seated(string, uint64) bool { return true }

var everybody everybodyIn

// post decides one connection's batch.
func post(d *Draft, member string, drafts []*roomv1.Draft, nextSeq uint64, now time.Time) ([]persistence.Event, []*roomv1.Outcome) {
	return d.Publish(&roomv1.Publish{MemberId: member, Drafts: drafts}, nextSeq, now)
}

func liveState() *State {
	s := NewState(persistence.Claim{}, 0)
	s.Live(epochTime)
	return s
}

func TestPublishOutcomes(t *testing.T) {
	t.Parallel()
	s := liveState()
	d := s.Draft(maxContent, everybody)
	events, outcomes := post(d, "ada", []*roomv1.Draft{
		draftOf("a", "one"),
		draftOf("a", "again in the same batch"),
		draftOf("", "no id"),
		draftOf(strings.Repeat("i", 129), "long id"),
		draftOf("big", strings.Repeat("x", maxContent+1)),
		draftOf("utf8", "\xff"),
		{MessageId: "time", SentAt: &timestamppb.Timestamp{Nanos: -1}},
		draftOf("b", "two"),
	}, 1, epochTime)
	require.Len(t, events, 2)
	require.Equal(t, uint64(1), outcomes[0].Seq)
	require.False(t, outcomes[0].Duplicate)
	require.Equal(t, uint64(1), outcomes[1].Seq)
	require.True(t, outcomes[1].Duplicate)
	for i, code := range map[int]clientv1.ErrorCode{
		2: clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT,
		3: clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT,
		4: clientv1.ErrorCode_ERROR_CODE_TOO_LARGE,
		5: clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT,
		6: clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT,
	} {
		require.Zero(t, outcomes[i].Seq)
		require.Equal(t, int32(code), outcomes[i].GetRefused().GetCode(), "outcome %d", i)
	}
	require.Equal(t, uint64(2), outcomes[7].Seq)
	commit(t, s, events, epochTime)

	fresh := s.TakeFresh()
	require.Len(t, fresh, 2)
	require.Equal(t, uint64(0), fresh[0].PrevSeq)
	require.Equal(t, uint64(1), fresh[1].PrevSeq)
	require.Equal(t, "ada", fresh[0].Sender)
	require.Empty(t, s.TakeFresh())
}

// S3: a repeat is recognised before any refusal, even for a member who has left.
func TestDuplicatesBeforeRefusals(t *testing.T) {
	t.Parallel()
	s := liveState()
	events, _ := post(s.Draft(maxContent, everybody), "ada", []*roomv1.Draft{draftOf("a", "one")}, 1, epochTime)
	commit(t, s, events, epochTime)

	events, outcomes := post(s.Draft(maxContent, seats{}), "ada", []*roomv1.Draft{
		draftOf("a", strings.Repeat("x", maxContent+1)), draftOf("b", "new"),
	}, 2, epochTime)
	require.Empty(t, events)
	require.Equal(t, uint64(1), outcomes[0].Seq)
	require.True(t, outcomes[0].Duplicate)
	require.Equal(t, int32(clientv1.ErrorCode_ERROR_CODE_NOT_JOINED), outcomes[1].GetRefused().GetCode())

	_, outcomes = post(s.Draft(maxContent, everybody), "bob", []*roomv1.Draft{draftOf("a", "another member's a")}, 2, epochTime)
	require.Equal(t, uint64(2), outcomes[0].Seq)
	require.False(t, outcomes[0].Duplicate)
}

func TestFullWindowIsBusy(t *testing.T) {
	t.Parallel()
	s := NewState(persistence.Claim{}, 32)
	s.Live(epochTime)
	publish := func(n int, now time.Time) *roomv1.Outcome {
		events, outcomes := post(s.Draft(maxContent, everybody), "ada", []*roomv1.Draft{draftOf(fmt.Sprint(n), "x")}, s.Head()+1, now)
		commit(t, s, events, now)
		return outcomes[0]
	}
	for n := range 32 {
		require.NotZero(t, publish(n, epochTime).Seq)
	}
	refused := publish(32, epochTime.Add(WindowFloor-time.Second))
	require.Equal(t, int32(clientv1.ErrorCode_ERROR_CODE_BUSY), refused.GetRefused().GetCode())
	require.NotZero(t, refused.Refused.RetryAfterMs)
	require.True(t, publish(0, epochTime.Add(WindowFloor-time.Second)).Duplicate, "repeats are still recognised")
	require.NotZero(t, publish(33, epochTime.Add(WindowFloor+time.Second)).Seq)
}

func TestDroppedDraftLeavesNoTrace(t *testing.T) {
	t.Parallel()
	s := liveState()
	events, _ := post(s.Draft(maxContent, everybody), "ada", []*roomv1.Draft{draftOf("a", "first try")}, 1, epochTime)
	require.Len(t, events, 1)
	require.Zero(t, s.Head())
	require.Zero(t, s.WindowLen())
	require.Empty(t, s.TakeFresh())

	// The same id with other content takes the same place: what is applied is what was stored, not what was drafted first.
	events, outcomes := post(s.Draft(maxContent, everybody), "ada", []*roomv1.Draft{draftOf("a", "second try")}, 1, epochTime)
	require.False(t, outcomes[0].Duplicate)
	commit(t, s, events, epochTime)
	require.Equal(t, "second try", s.TakeFresh()[0].Content)
}

func TestApplyRefusesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	good, _ := post(liveState().Draft(maxContent, everybody), "ada", []*roomv1.Draft{draftOf("a", "x"), draftOf("b", "y")}, 1, epochTime)
	good[0].Seq, good[1].Seq = 1, 2
	for name, e := range map[string]persistence.Event{
		"kind":     {Seq: 1, Manifest: "parley.journal.v1.Unheard", Codec: persistence.CodecProto},
		"codec":    {Seq: 1, Manifest: ManifestMessagePosted, Codec: persistence.CodecRaw},
		"payload":  {Seq: 1, Manifest: ManifestMessagePosted, Codec: persistence.CodecProto, Payload: []byte{0xff}},
		"chain":    good[1],
		"position": {Seq: 7, Manifest: ManifestMessagePosted, Codec: persistence.CodecProto, Payload: good[0].Payload},
	} {
		s := liveState()
		require.ErrorIs(t, s.Apply(e), ErrEvent, name)
		require.Zero(t, s.Head(), name)
	}
}

// history is a room's journal as the tests keep it.
type history struct {
	events []persistence.Event
	snaps  []persistence.Snapshot
}

// recovered rebuilds a state as the shell does: newest snapshot at or before a point, the events after it, then older ones
// read back in pages.
func (h *history) recovered(t require.TestingT, snap int, page int, now time.Time) *State {
	s := NewState(persistence.Claim{}, 0)
	if snap >= 0 {
		var err error
		s, err = RestoreState(persistence.Claim{}, h.snaps[snap], 0)
		require.NoError(t, err)
	}
	for _, e := range h.events[s.Head():] {
		require.NoError(t, s.Apply(e))
	}
	for before := int(s.Base()); before > 0; {
		from := max(before-page, 0)
		var window []persistence.Event
		for i := before - 1; i >= from; i-- {
			window = append(window, h.events[i])
		}
		more, err := s.Backfill(window)
		require.NoError(t, err)
		if !more {
			break
		}
		before = from
	}
	s.Live(now)
	return s
}

// S1, S3: whatever batches were published, dropped and repeated, a recovered room answers like the live one: the first
// seq of every id of the last two minutes, and the same recent messages; the chain of messages has no gap.
func TestRecoveredEqualsLive(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		live := liveState()
		h := &history{}
		first := make(map[string]uint64)
		stored := make(map[string]time.Time)
		now := epochTime
		batches := rapid.IntRange(1, 30).Draw(t, "batches")
		for range batches {
			now = now.Add(time.Duration(rapid.IntRange(0, 20_000).Draw(t, "pause")) * time.Millisecond)
			d := live.Draft(maxContent, everybody)
			var events []persistence.Event
			var keys []string
			var outcomes []*roomv1.Outcome
			for range rapid.IntRange(1, 3).Draw(t, "commands") {
				member := rapid.SampledFrom([]string{"ada", "bob"}).Draw(t, "member")
				var drafts []*roomv1.Draft
				for range rapid.IntRange(1, 4).Draw(t, "drafts") {
					n := rapid.IntRange(0, 40).Draw(t, "id")
					drafts = append(drafts, draftOf(fmt.Sprint(n), strings.Repeat("x", n)))
					keys = append(keys, member+"/"+fmt.Sprint(n))
				}
				es, os := post(d, member, drafts, live.Head()+uint64(len(events))+1, now)
				events, outcomes = append(events, es...), append(outcomes, os...)
			}
			if rapid.IntRange(0, 4).Draw(t, "fails") == 0 {
				continue // the journal refused the batch
			}
			head := live.Head()
			h.events = append(h.events, commit(t, live, events, now)...)
			for i, o := range outcomes {
				if seq, ok := first[keys[i]]; ok && now.Sub(stored[keys[i]]) <= WindowAge {
					require.Equal(t, seq, o.Seq, "repeat of %s", keys[i])
					require.True(t, o.Duplicate)
				}
				if !o.Duplicate {
					require.Greater(t, o.Seq, head)
					first[keys[i]], stored[keys[i]] = o.Seq, now
				}
			}
			if rapid.IntRange(0, 5).Draw(t, "snapshot") == 0 {
				snap, err := live.Snapshot()
				require.NoError(t, err)
				snap.Seq = live.Head()
				h.snaps = append(h.snaps, snap)
			}
		}
		chained(t, live.TakeFresh())
		snap := rapid.IntRange(-1, len(h.snaps)-1).Draw(t, "from")
		got := h.recovered(t, snap, rapid.IntRange(1, 10).Draw(t, "page"), now)
		require.Equal(t, live.Head(), got.Head())
		require.Equal(t, live.LastMessage(), got.LastMessage())
		for key, seq := range first {
			if now.Sub(stored[key]) > WindowAge {
				continue
			}
			member, messageID, _ := strings.Cut(key, "/")
			for _, s := range []*State{live, got} {
				_, outcomes := post(s.Draft(maxContent, seats{}), member, []*roomv1.Draft{draftOf(messageID, "")}, s.Head()+1, now)
				require.Equal(t, seq, outcomes[0].Seq, "repeat of %s", key)
				require.True(t, outcomes[0].Duplicate)
			}
		}
		for seq := got.Tail().Floor() + 1; seq <= got.Head(); seq++ {
			want, ok := live.Tail().At(seq)
			require.True(t, ok)
			m, ok := got.Tail().At(seq)
			require.True(t, ok)
			require.True(t, proto.Equal(want, m))
		}
	})
}

// S3: the clock was set forward by an hour between two messages, and then the node died. The ids of the last seconds are
// remembered all the same, and for as long as others.
func TestRecoveredAfterAClockStep(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		messages, size, certain int
		snapshot                int
	}{
		"snapshot at the end":          {messages: 3000, certain: SureIDs, snapshot: 3000},
		"snapshot before the step":     {messages: 3000, certain: SureIDs, snapshot: 2500},
		"no snapshot":                  {messages: 3000, certain: SureIDs},
		"large ones, bounded by bytes": {messages: 3000, size: 50_000, certain: SureBytes / 60_000, snapshot: 3000},
		"few":                          {messages: 10, certain: 10, snapshot: 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			live, h, now := liveState(), &history{}, epochTime
			content := strings.Repeat("x", test.size)
			for n := range test.messages {
				if now = now.Add(time.Millisecond); n == test.messages-1 {
					now = now.Add(time.Hour)
				}
				events, _ := post(live.Draft(1<<20, everybody), "ada", []*roomv1.Draft{draftOf(fmt.Sprint(n), content)}, live.Head()+1, now)
				h.events = append(h.events, commit(t, live, events, now)...)
				live.TakeFresh()
				if n+1 == test.snapshot {
					snap, err := live.Snapshot()
					require.NoError(t, err)
					snap.Seq = live.Head()
					h.snaps = append(h.snaps, snap)
				}
			}
			got := h.recovered(t, len(h.snaps)-1, 100, now)
			if test.size > 0 {
				require.Less(t, got.WindowLen(), SureIDs)
			}
			later := now.Add(WindowAge)
			for _, at := range []time.Time{now, later} {
				got.Expire(at)
				for n := test.messages - test.certain; n < test.messages; n++ {
					_, outcomes := post(got.Draft(maxContent, everybody), "ada", []*roomv1.Draft{draftOf(fmt.Sprint(n), "")}, got.Head()+1, at)
					require.True(t, outcomes[0].Duplicate, "message %d", n)
					require.EqualValues(t, n+1, outcomes[0].Seq)
				}
			}
			got.Expire(now.Add(2 * WindowAge))
			require.Zero(t, got.WindowLen(), "not for ever")
		})
	}
}

func chained(t require.TestingT, messages []*roomv1.Message) {
	prev := uint64(0)
	for _, m := range messages {
		require.Equal(t, prev, m.PrevSeq)
		prev = m.Seq
	}
}

// Whatever bytes are stored, a room either understands them or says so.
func FuzzApply(f *testing.F) {
	events, _ := post(liveState().Draft(maxContent, everybody), "ada", []*roomv1.Draft{draftOf("a", "hello")}, 1, epochTime)
	f.Add(ManifestMessagePosted, events[0].Payload)
	f.Add(ManifestSessionJoined, []byte{})
	for _, command := range []any{
		&roomv1.ChangeSettings{Join: level(journalv1.Level_LEVEL_INVITED)}, &roomv1.KickMember{MemberId: "ada"}, &roomv1.BanMember{MemberId: "ada"},
		&roomv1.MuteMember{MemberId: "ada"}, &roomv1.InviteMember{MemberId: "ada"},
	} {
		events, _ := liveState().Draft(maxContent, everybody).Administer(asked("op", command), 1, epochTime)
		f.Add(events[0].Manifest, events[0].Payload)
	}
	f.Fuzz(func(t *testing.T, manifest string, payload []byte) {
		s := liveState()
		e := persistence.Event{Seq: 1, Manifest: manifest, Codec: persistence.CodecProto, Payload: payload, At: epochTime}
		if err := s.Apply(e); err != nil {
			require.ErrorIs(t, err, ErrEvent)
			require.Zero(t, s.Head())
		}
		m := NewMembers()
		if err := m.Apply(e); err != nil {
			require.ErrorIs(t, err, ErrEvent)
		}
		if _, err := RestoreState(persistence.Claim{}, persistence.Snapshot{Seq: 1, Manifest: ManifestRoomSnapshot, Codec: persistence.CodecProto, Payload: payload}, 0); err != nil {
			require.ErrorIs(t, err, ErrEvent)
		}
		if _, err := RestoreMembers(persistence.Snapshot{Seq: 1, Manifest: ManifestMembersSnapshot, Codec: persistence.CodecProto, Payload: payload}); err != nil {
			require.ErrorIs(t, err, ErrEvent)
		}
	})
}

// Whatever a gateway sends, every draft gets exactly one outcome and what is accepted can be applied.
func FuzzPublish(f *testing.F) {
	f.Add("ada", "id", "hello", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "k=v", int64(1), int32(0))
	f.Add("", "", "", "", "", int64(-1), int32(-1))
	f.Fuzz(func(t *testing.T, member, messageID, content, traceparent, tracestate string, seconds int64, nanos int32) {
		s := liveState()
		drafts := []*roomv1.Draft{
			{MessageId: messageID, Content: content, Traceparent: traceparent, Tracestate: tracestate,
				SentAt: &timestamppb.Timestamp{Seconds: seconds, Nanos: nanos}},
			{MessageId: messageID, Content: content},
		}
		events, outcomes := post(s.Draft(maxContent, everybody), member, drafts, 1, epochTime)
		require.Len(t, outcomes, 2)
		accepted := 0
		for _, o := range outcomes {
			require.NotEqual(t, o.Seq == 0, o.Refused == nil, "stored or refused")
			if o.Refused == nil && !o.Duplicate {
				accepted++
			}
		}
		require.Len(t, events, accepted)
		commit(t, s, events, epochTime)
	})
}
