package names_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/protocol/names"
)

// legal is what GoAkt demands of an actor's name.
func legal(t *testing.T, name string) {
	t.Helper()
	require.Regexp(t, regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9-_.]*$`), name)
	require.LessOrEqual(t, len(name), 255)
	require.False(t, strings.HasPrefix(strings.ToLower(name), "goakt"), name)
}

func TestRoom(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"lobby":    "room-lobby",
		"Lobby":    "room-Lobby",
		"-.":       "room--.",
		"a_b":      "room-a_b",
		"chat:42":  "roomc-01-chat_42",
		"a_b:c":    "roomc-02-a_b_c",
		"a:b_c":    "roomc-01-a_b_c",
		":":        "roomc-01-_",
		"01-_":     "room-01-_",
		"c-01-a:b": "roomc-01-c-01-a_b",
	} {
		require.Equal(t, want, names.Room(id), id)
	}
	for _, id := range []string{
		strings.Repeat(":", 128), strings.Repeat("_", 128), strings.Repeat(":_", 64), strings.Repeat("x", 128),
		"", "no room", "é", strings.Repeat("x", 10_000), "\x00",
	} {
		legal(t, names.Room(id))
	}
}

// Names of different rooms differ, also by more than case.
func FuzzRoom(f *testing.F) {
	for _, id := range []string{"a", "a:b", "a_b", "a_b:c", "a:b_c", "c-01-a", "h-00", ":", "_", "", "a b"} {
		for _, other := range []string{"a_b_c", "01-_", "a:b:c", "A"} {
			f.Add(id, other)
		}
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		legal(t, names.Room(a))
		require.Equal(t, a == b, names.Room(a) == names.Room(b), "%q %q", a, b)
	})
}

// Every id of some length over the delicate characters has a name of its own.
func TestRoomIsInjective(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	var walk func(id string)
	walk = func(id string) {
		if len(id) > 0 {
			name := names.Room(id)
			if other, taken := seen[name]; taken {
				t.Fatalf("%q and %q are both %q", other, id, name)
			}
			seen[name] = id
		}
		if len(id) == 6 {
			return
		}
		for _, c := range ":_-01" {
			walk(id + string(c))
		}
	}
	walk("")
}

func TestActorsOfANode(t *testing.T) {
	t.Parallel()
	legal(t, names.RoomHost)
	legal(t, names.Hub)
}

func TestStreams(t *testing.T) {
	t.Parallel()
	require.Equal(t, "room/a:b", names.RoomStream("a:b"))
	require.Equal(t, "members/a:b", names.MembersStream("a:b"))
	require.Equal(t, "schedules/63", names.SchedulesStream(63))
	counts := make([]int, names.ScheduleShards)
	for n := range 6400 {
		counts[names.ScheduleShard(fmt.Sprint("s", n))]++
	}
	require.Greater(t, slices.Min(counts), 60, "schedules are spread")
	kind, id, ok := names.ParseStream("room/a:b")
	require.True(t, ok)
	require.Equal(t, names.StreamRoom, kind)
	require.Equal(t, "a:b", id)
	for _, key := range []string{"", "room", "room/", "/x"} {
		_, _, ok := names.ParseStream(key)
		require.False(t, ok, key)
	}
}
