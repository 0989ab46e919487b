package core

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"

	"github.com/parley-rt/parley/libs/persistence"
)

// rules is a plain reading of a room's stream, one event after the other: what the room may have accepted.
type rules struct {
	now         time.Time
	settings    *journalv1.Settings
	banned      map[string]time.Time // until; zero: for good
	muted       map[string]time.Time
	invited     map[string]bool // whether as a moderator
	kicked      map[string]uint64
	seats       seats
	lastMessage uint64
}

func newRules(s seats) *rules {
	return &rules{
		settings: &journalv1.Settings{}, banned: map[string]time.Time{}, muted: map[string]time.Time{}, invited: map[string]bool{},
		kicked: map[string]uint64{}, seats: s,
	}
}

func (r *rules) holds(list map[string]time.Time, member string) bool {
	until, ok := list[member]
	return ok && (until.IsZero() || until.After(r.now))
}

func (r *rules) reaches(l journalv1.Level, member string) bool {
	moderator, invited := r.invited[member]
	return l <= journalv1.Level_LEVEL_ANYONE || l == journalv1.Level_LEVEL_INVITED && invited || l == journalv1.Level_LEVEL_MODERATORS && moderator
}

// refusal says why a member may not publish now; 0: it may.
func (r *rules) refusal(member string) clientv1.ErrorCode {
	since, seated := r.seats[member]
	switch {
	case r.holds(r.banned, member):
		return clientv1.ErrorCode_ERROR_CODE_BANNED
	case !seated || since < r.kicked[member]:
		return clientv1.ErrorCode_ERROR_CODE_NOT_JOINED
	case !r.reaches(r.settings.GetJoin(), member), !r.reaches(r.settings.GetPublish(), member):
		return clientv1.ErrorCode_ERROR_CODE_FORBIDDEN
	case r.holds(r.muted, member):
		return clientv1.ErrorCode_ERROR_CODE_MUTED
	default:
		return 0
	}
}

// read takes the next event and fails when it should not be there.
func (r *rules) read(t require.TestingT, e persistence.Event) {
	expiry := func(at *timestamppb.Timestamp) time.Time {
		if at == nil {
			return time.Time{}
		}
		return at.AsTime()
	}
	if e.Manifest == ManifestMessagePosted {
		m, err := MessageOf(e)
		require.NoError(t, err)
		require.Zero(t, r.refusal(m.Sender), "S8: message %d of %s is in the stream", e.Seq, m.Sender)
		require.Equal(t, r.lastMessage, m.PrevSeq)
		r.lastMessage = e.Seq
		return
	}
	event, err := ruling(e)
	require.NoError(t, err)
	switch v := event.(type) {
	case *journalv1.SettingsChanged:
		r.settings = v.Settings
	case *journalv1.MemberKicked:
		r.kicked[v.MemberId] = e.Seq
	case *journalv1.MemberBanned:
		r.kicked[v.MemberId] = e.Seq
		r.banned[v.MemberId] = expiry(v.ExpiresAt)
	case *journalv1.MemberUnbanned:
		delete(r.banned, v.MemberId)
	case *journalv1.MemberMuted:
		r.muted[v.MemberId] = expiry(v.ExpiresAt)
	case *journalv1.MemberUnmuted:
		delete(r.muted, v.MemberId)
	case *journalv1.MemberInvited:
		r.invited[v.MemberId] = v.Moderator
	case *journalv1.MemberUninvited:
		delete(r.invited, v.MemberId)
	default:
		require.FailNow(t, "no such event", "%T", event)
	}
}

func drawCommand(t *rapid.T, member string) any {
	var lasting *durationpb.Duration
	if rapid.Bool().Draw(t, "expires") {
		lasting = durationpb.New(time.Duration(rapid.IntRange(1, 60).Draw(t, "lasting")) * time.Second)
	}
	level := func(name string) *journalv1.Level {
		if rapid.Bool().Draw(t, name) {
			return nil
		}
		return level(journalv1.Level(rapid.IntRange(1, 4).Draw(t, name)))
	}
	switch rapid.IntRange(0, 7).Draw(t, "command") {
	case 0:
		return &roomv1.ChangeSettings{Join: level("join"), Publish: level("publish"), History: level("history")}
	case 1:
		return &roomv1.KickMember{MemberId: member}
	case 2:
		return &roomv1.BanMember{MemberId: member, Lasting: lasting}
	case 3:
		return &roomv1.UnbanMember{MemberId: member}
	case 4:
		return &roomv1.MuteMember{MemberId: member, Lasting: lasting}
	case 5:
		return &roomv1.UnmuteMember{MemberId: member}
	case 6:
		return &roomv1.InviteMember{MemberId: member, Moderator: rapid.Bool().Draw(t, "moderator")}
	default:
		return &roomv1.UninviteMember{MemberId: member}
	}
}

// S8, S3: whatever is published, ruled, joined and repeated, in whatever batches, some of which are not stored: no message is in
// the stream whose sender was not allowed at its place there; every message is refused exactly when a plain reading of the
// stream says so, except that known ones are answered with their first seq; and a state recovered from any snapshot is the
// live one.
func TestRulingsModel(t *testing.T) {
	t.Parallel()
	members := []string{"ada", "bob", "eve"}
	rapid.Check(t, func(t *rapid.T) {
		live, seated := liveState(), seats{}
		model := newRules(seated)
		h := &history{}
		first := map[string]uint64{}
		messages, operations := 0, 0
		now := epochTime
		for range rapid.IntRange(1, 25).Draw(t, "batches") {
			now = now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "pause")) * time.Millisecond)
			model.now = now
			d := live.Draft(maxContent, seated)
			// What this batch does to a copy of the model, should it be stored.
			trial := *model
			trial.banned, trial.muted = clone(model.banned), clone(model.muted)
			trial.invited, trial.kicked = clone(model.invited), clone(model.kicked)
			var events []persistence.Event
			posted := map[string]uint64{}
			for range rapid.IntRange(1, 5).Draw(t, "commands") {
				next := live.Head() + uint64(len(events)) + 1
				member := rapid.SampledFrom(members).Draw(t, "member")
				var es []persistence.Event
				if rapid.Bool().Draw(t, "publishes") {
					messages++
					id := fmt.Sprint(rapid.IntRange(0, messages).Draw(t, "message"))
					known, isKnown := first[member+"/"+id]
					if seq, ok := posted[member+"/"+id]; ok {
						known, isKnown = seq, true
					}
					want := trial.refusal(member)
					var outcomes []*roomv1.Outcome
					es, outcomes = post(d, member, []*roomv1.Draft{draftOf(id, "x")}, next, now)
					switch o := outcomes[0]; {
					case isKnown:
						require.Equal(t, known, o.Seq)
						require.True(t, o.Duplicate)
					case want != 0:
						require.Equal(t, want.String(), clientv1.ErrorCode(o.GetRefused().GetCode()).String())
						require.Empty(t, es)
					default:
						require.Equal(t, next, o.Seq)
						posted[member+"/"+id] = next
					}
				} else {
					operations++
					var ruled Ruled
					es, ruled = d.Administer(asked(fmt.Sprint(operations), drawCommand(t, member)), next, now)
					require.NotNil(t, ruled.Answer)
					require.Equal(t, len(es) == 1, ruled.Answer.Changed)
				}
				for i := range es {
					es[i].Seq = next + uint64(i)
					trial.read(t, es[i])
				}
				events = append(events, es...)
			}
			if rapid.IntRange(0, 3).Draw(t, "fails") == 0 {
				continue
			}
			h.events = append(h.events, commit(t, live, events, now)...)
			*model = trial
			for key, seq := range posted {
				first[key] = seq
			}
			// Joins and leaves happen beside.
			member := rapid.SampledFrom(members).Draw(t, "who")
			switch rapid.IntRange(0, 2).Draw(t, "moves") {
			case 0:
				if live.Barred(member, now) == nil {
					seated[member] = live.Head()
				}
			case 1:
				delete(seated, member)
			}
			if rapid.IntRange(0, 4).Draw(t, "snapshot") == 0 {
				snap, err := live.Snapshot()
				require.NoError(t, err)
				snap.Seq = live.Head()
				h.snaps = append(h.snaps, snap)
			}
		}
		got := h.recovered(t, rapid.IntRange(-1, len(h.snaps)-1).Draw(t, "from"), rapid.IntRange(1, 10).Draw(t, "page"), now)
		require.Equal(t, snapshotOf(t, live, now), snapshotOf(t, got, now))
		for key, seq := range first {
			member, id, _ := strings.Cut(key, "/")
			_, outcomes := post(got.Draft(maxContent, seats{}), member, []*roomv1.Draft{draftOf(id, "")}, got.Head()+1, now)
			require.Equal(t, seq, outcomes[0].Seq, "repeat of %s", key)
		}
	})
}

func clone[V any](m map[string]V) map[string]V {
	c := make(map[string]V, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

// snapshotOf is what a state would save, without what has expired: that is forgotten when somebody looks.
func snapshotOf(t require.TestingT, s *State, now time.Time) string {
	s.rights.prune(now)
	snap, err := s.Snapshot()
	require.NoError(t, err)
	var stored journalv1.RoomSnapshot
	require.NoError(t, proto.Unmarshal(snap.Payload, &stored))
	return stored.String() + fmt.Sprint(s.rights.bytes, s.Head())
}

var update = flag.Bool("update", false, "write the golden files")

// Every event and snapshot ever written stays readable, and means the same. A file here is never changed, only added.
func TestStoredEventsStayReadable(t *testing.T) {
	t.Parallel()
	at := timestamppb.New(epochTime)
	expires := timestamppb.New(epochTime.Add(time.Hour))
	full := &journalv1.Settings{
		Join: journalv1.Level_LEVEL_INVITED, Publish: journalv1.Level_LEVEL_MODERATORS, History: journalv1.Level_LEVEL_NOBODY,
		PresenceEvents: true, RetentionAge: durationpb.New(24 * time.Hour), RetentionCount: 1000, MaxContentBytes: 512,
	}
	for manifest, event := range map[string]proto.Message{
		ManifestMessagePosted: &journalv1.MessagePosted{
			MemberId: "ada", MessageId: "m", Content: "hello", SentAt: at, PrevSeq: 3, Traceparent: "tp", Tracestate: "ts",
		},
		// Of a schedule: what a message of before has not.
		ManifestMessagePosted + "-fired": &journalv1.MessagePosted{
			MemberId: "schedule:s", MessageId: "schedule:s:5", Content: "hello", SentAt: at, PrevSeq: 3,
			Firing: &journalv1.Firing{ScheduleId: "s", Number: 5, At: at},
		},
		ManifestRoomSnapshot + "-fired": &journalv1.RoomSnapshot{
			LastMessageSeq: 40,
			Firings:        &journalv1.LastFirings{Schedules: []byte("0123456789abcdef"), Numbers: []uint64{5}, UsedAt: []int64{1_800_000_000}},
		},
		ManifestSettingsChanged: &journalv1.SettingsChanged{Settings: full, Actor: "root", At: at, Trimmed: 7},
		ManifestMemberKicked:    &journalv1.MemberKicked{MemberId: "ada", Actor: "root", Reason: "enough", At: at},
		ManifestMemberBanned:    &journalv1.MemberBanned{MemberId: "ada", Actor: "root", Reason: "spam", At: at, ExpiresAt: expires},
		ManifestMemberUnbanned:  &journalv1.MemberUnbanned{MemberId: "ada", Actor: "root", At: at},
		ManifestMemberMuted:     &journalv1.MemberMuted{MemberId: "ada", Actor: "root", Reason: "loud", At: at, ExpiresAt: expires},
		ManifestMemberUnmuted:   &journalv1.MemberUnmuted{MemberId: "ada", Actor: "root", At: at},
		ManifestMemberInvited:   &journalv1.MemberInvited{MemberId: "ada", Moderator: true, Actor: "root", At: at},
		ManifestMemberUninvited: &journalv1.MemberUninvited{MemberId: "ada", Actor: "root", At: at},
		ManifestRoomSnapshot: &journalv1.RoomSnapshot{
			LastMessageSeq: 40, Settings: full, SettingsSeq: 41, Trimmed: 12, RemovalSeq: 43,
			Bans:        []*journalv1.Restriction{{MemberId: "ada", Seq: 43, Actor: "root", Reason: "spam", At: at, ExpiresAt: expires}},
			Mutes:       []*journalv1.Restriction{{MemberId: "bob", Seq: 42, Actor: "root", At: at}},
			Invitations: []*journalv1.Invitation{{MemberId: "eve", Seq: 39, Moderator: true, Actor: "root", At: at}},
			Kicks:       []*journalv1.Kick{{MemberId: "ada", Seq: 43, At: at}},
		},
		ManifestSessionJoined: &journalv1.SessionJoined{MemberId: "ada", SessionId: "s", Operation: 5, At: at, RoomSeq: 44},
		ManifestSessionLeft:   &journalv1.SessionLeft{MemberId: "ada", SessionId: "s", Operation: 6, At: at},
		ManifestMembersSnapshot: &journalv1.MembersSnapshot{Memberships: []*journalv1.Membership{
			{MemberId: "ada", SessionId: "s", Operation: 5, At: at, Joined: true, RoomSeq: 44},
		}},
	} {
		path := filepath.Join("testdata", "stored", strings.TrimPrefix(manifest, "parley.journal.v1.")+".hex")
		if *update {
			payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(event)
			require.NoError(t, err)
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, []byte(hex.EncodeToString(payload)+"\n"), 0o600))
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err, "run the test with -update")
		payload, err := hex.DecodeString(strings.TrimSpace(string(text)))
		require.NoError(t, err)
		read := event.ProtoReflect().New().Interface()
		require.NoError(t, proto.Unmarshal(payload, read))
		require.True(t, proto.Equal(event, read), "%s: %v", manifest, read)
		require.Empty(t, read.ProtoReflect().GetUnknown(), manifest)
	}
}

// A snapshot of before there were settings is a room that anybody may use.
func TestSnapshotOfBeforeSettings(t *testing.T) {
	t.Parallel()
	payload, err := proto.Marshal(&journalv1.RoomSnapshot{LastMessageSeq: 5})
	require.NoError(t, err)
	s, err := RestoreState(persistence.Claim{}, persistence.Snapshot{
		Seq: 5, Manifest: ManifestRoomSnapshot, Codec: persistence.CodecProto, Payload: payload,
	}, 0)
	require.NoError(t, err)
	require.Nil(t, s.Barred("ada", epochTime))
	require.True(t, s.ReadsHistory("ada"))
	require.True(t, proto.Equal(&journalv1.Settings{}, s.Settings()))
	require.Zero(t, s.Removal())
}

// What a later version has written is refused rather than misread.
func TestLevelsOfALaterVersion(t *testing.T) {
	t.Parallel()
	unknown := &journalv1.Settings{Publish: 9}
	e, err := encode(ManifestSettingsChanged, [16]byte{1}, &journalv1.SettingsChanged{Settings: unknown})
	require.NoError(t, err)
	e.Seq = 1
	require.ErrorIs(t, liveState().Apply(e), ErrEvent)
	payload, err := proto.Marshal(&journalv1.RoomSnapshot{Settings: unknown})
	require.NoError(t, err)
	_, err = RestoreState(persistence.Claim{}, persistence.Snapshot{Seq: 1, Manifest: ManifestRoomSnapshot, Codec: persistence.CodecProto, Payload: payload}, 0)
	require.ErrorIs(t, err, ErrEvent)
}
