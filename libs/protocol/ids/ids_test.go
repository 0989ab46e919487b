package ids_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/protocol/ids"
)

func TestCheckRoom(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "Room-1", "a.b_c:d-e", "::", "..", "-", strings.Repeat("x", 128), "0"} {
		require.NoError(t, ids.CheckRoom(good), good)
	}
	for _, bad := range []string{"", strings.Repeat("x", 129), "a b", "a/b", "é", "a\x00", "a\n", "a*", "\xff", "a@b", "[", "`", "{"} {
		require.ErrorIs(t, ids.CheckRoom(bad), ids.ErrRoomID, bad)
	}
	require.NotContains(t, ids.CheckRoom("secret room").Error(), "secret", "ids are not quoted whole")
}

func TestCheckMessageID(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", " ", "é", "\x00", strings.Repeat("x", 128), strings.Repeat("é", 64)} {
		require.NoError(t, ids.CheckMessageID(good), good)
	}
	for _, bad := range []string{"", strings.Repeat("x", 129), strings.Repeat("é", 65), "\xff", "a\xc3"} {
		require.ErrorIs(t, ids.CheckMessageID(bad), ids.ErrMessageID, bad)
	}
}

func TestCheckMember(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "ada@example.com", "auth0|5f7c8e", "Zoë B", "日本", "schedule", strings.Repeat("x", 128)} {
		require.NoError(t, ids.CheckMember(good), good)
	}
	for _, bad := range []string{"", strings.Repeat("x", 129), "a\nb", "a\x00", "\xff", "a\u202eb", "\ufffd", "schedule:1"} {
		require.ErrorIs(t, ids.CheckMember(bad), ids.ErrMemberID, "%q", bad)
	}
}

func TestCheckNode(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "gateway-0", "host.example.com", strings.Repeat("x", 64)} {
		require.NoError(t, ids.CheckNode(good), good)
	}
	for _, bad := range []string{"", strings.Repeat("x", 65), "a:1", "a b", "é"} {
		require.ErrorIs(t, ids.CheckNode(bad), ids.ErrNode, bad)
	}
}

func TestNewMessageID(t *testing.T) {
	t.Parallel()
	last := ""
	for range 1000 {
		id := ids.NewMessageID()
		require.NoError(t, ids.CheckMessageID(id))
		parsed, err := uuid.Parse(id)
		require.NoError(t, err)
		require.Equal(t, uuid.Version(7), parsed.Version())
		require.Greater(t, id, last)
		last = id
	}
}

const goldenKey = "f4cd02cf-cbf3-5d65-b1ad-81cef9efb7aa"

func TestDedupeKey(t *testing.T) {
	t.Parallel()
	// The value is stored: it may never change.
	require.Equal(t, goldenKey, uuid.UUID(ids.DedupeKey("ann", "0198c6e1-0000-7000-8000-000000000001")).String())

	pairs := [][2]string{
		{"ab", "c"}, {"a", "bc"}, {"", "abc"}, {"abc", ""}, {"", ""}, {"a", "b"}, {"b", "a"}, {"\x01a", "b"}, {"\x00", ""}, {"", "\x00"},
		{strings.Repeat("x", 127), "y"}, {strings.Repeat("x", 128), "y"}, {strings.Repeat("x", 4000), "y"}, {"é", "e"}, {"\xff", "e"},
	}
	seen := map[[16]byte][2]string{}
	for _, p := range pairs {
		key := ids.DedupeKey(p[0], p[1])
		require.Equal(t, key, ids.DedupeKey(p[0], p[1]))
		require.Equal(t, uuid.Version(5), uuid.UUID(key).Version())
		require.Equal(t, uuid.RFC4122, uuid.UUID(key).Variant())
		require.NotContains(t, seen, key, "%q and %q", seen[key], p)
		seen[key] = p
	}
}

func FuzzDedupeKey(f *testing.F) {
	f.Add("ab", "c", "a", "bc")
	f.Fuzz(func(t *testing.T, m1, i1, m2, i2 string) {
		same := m1 == m2 && i1 == i2
		require.Equal(t, same, ids.DedupeKey(m1, i1) == ids.DedupeKey(m2, i2))
	})
}

func BenchmarkDedupeKey(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		ids.DedupeKey("member-12345", "0198c6e1-0000-7000-8000-000000000001")
	}
}

func TestCheckSchedule(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"a", "A-z_0.9", strings.Repeat("x", ids.MaxScheduleID)} {
		require.NoError(t, ids.CheckSchedule(id), id)
		require.LessOrEqual(t, len(ids.ScheduleMember(id)), ids.MaxMemberID)
		require.ErrorIs(t, ids.CheckMember(ids.ScheduleMember(id)), ids.ErrMemberID, "no client may have it")
	}
	for _, id := range []string{"", "a b", "a:b", "a/b", "é", "\x00", strings.Repeat("x", ids.MaxScheduleID+1)} {
		require.ErrorIs(t, ids.CheckSchedule(id), ids.ErrScheduleID, "%q", id)
	}
}

// The keys of members' messages, administrators' operations, schedules and firings never meet, and never change.
func TestFiringKeys(t *testing.T) {
	t.Parallel()
	require.Equal(t, "a1fd", hex.EncodeToString(prefix(ids.ScheduleKey("s"))))
	seen := map[[16]byte]string{}
	for name, key := range map[string][16]byte{
		"schedule s": ids.ScheduleKey("s"), "schedule s1": ids.ScheduleKey("s1"), "firing s 1": ids.FiringKey("s", 1), "firing s 11": ids.FiringKey("s", 11),
		"firing s1 1": ids.FiringKey("s1", 1), "message s 1": ids.DedupeKey("s", "1"), "operation s 1": ids.OperationKey("s", "1"),
	} {
		require.Empty(t, seen[key], name)
		seen[key] = name
	}
}

func prefix(key [16]byte) []byte { return key[:2] }
