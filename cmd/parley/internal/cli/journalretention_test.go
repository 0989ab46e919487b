package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

func TestNewestBefore(t *testing.T) {
	t.Parallel()
	const now, day = int32(20_000), int32(19_970)
	for _, test := range []struct {
		name  string
		parts []int32 // the last one is the current
		want  int32   // -1: none
	}{
		{"a new journal", []int32{0}, -1},
		{"its first rotation", []int32{0, now}, -1},
		{"a month after its first rotation", []int32{0, day, day + 1}, 0},
		{"a day too early", []int32{0, day + 1, day + 2}, -1},
		{"every day", []int32{day - 2, day - 1, day, day + 1, day + 2}, day - 1},
		{"the job was paused", []int32{day - 20, day - 10, now}, day - 20},
		{"the job was paused for more than the time", []int32{day - 300, now}, -1},
		{"the job was paused for good", []int32{day - 300, day - 200}, day - 300},
		{"nothing is left but the current one", []int32{day - 300}, -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var list []persistence.Partition
			for i, part := range test.parts {
				list = append(list, persistence.Partition{Part: part, Current: i == len(test.parts)-1})
			}
			newest, found := newestBefore(list, day)
			require.Equal(t, test.want >= 0, found)
			require.Equal(t, max(test.want, 0), newest)
		})
	}
	// As an interrupted rotation leaves it: the next partition is there, and events go to the old one still.
	_, found := newestBefore([]persistence.Partition{{Part: 0, Current: true}, {Part: day - 5}}, day)
	require.False(t, found)
	_, found = newestBefore(nil, day)
	require.False(t, found)
}

func TestDays(t *testing.T) {
	t.Parallel()
	var d days
	require.NoError(t, d.UnmarshalText([]byte("30d")))
	require.EqualValues(t, 30, d)
	for _, text := range []string{"", "d", "30", "30h", "0d", "-1d", "1.5d", "99999d"} {
		require.ErrorContains(t, d.UnmarshalText([]byte(text)), "such as 30d", text)
	}
}

// A journal that began today keeps what it has, whatever its first partition is called.
func TestDropOlderThan(t *testing.T) {
	t.Parallel()
	onEachJournal(t, func(t *testing.T, url string) {
		at := "--journal=" + url
		using(t, url, func(b persistence.Backend) {
			c := publish(t, b, "room/1", 5)
			require.NoError(t, b.SaveSnapshot(t.Context(), c, persistence.Snapshot{Seq: 5, Payload: []byte("x")}))
		})
		const nothing = "no partition is older than 30 days\n"
		require.Equal(t, nothing, must(t, "journal", "drop", "--older-than", "30d", "--yes", at))
		must(t, "journal", "rotate", at)
		require.Equal(t, nothing, must(t, "journal", "drop", "--older-than", "30d", "--yes", at))
		require.Len(t, journalStatus(t, url).Partitions, 2, "nothing was dropped")
	})
	onEachJournal(t, func(t *testing.T, url string) {
		at := "--journal=" + url
		using(t, url, func(b persistence.Backend) {
			day := today() - 40
			require.NoError(t, b.Rotate(t.Context(), day))
			require.NoError(t, b.Rotate(t.Context(), day+1))
		})
		must(t, "journal", "rotate", at)
		fails(t, "nothing was done: drop partitions up to ", "journal", "drop", "--older-than", "30d", at)
		require.Regexp(t, `^dropped partition 0\ndropped partition \d+\n$`, must(t, "journal", "drop", "--older-than", "30d", "--yes", at))
		require.Len(t, journalStatus(t, url).Partitions, 2, "events went to the last but one until today")
	})
	for _, args := range [][]string{nil, {"--older-than", "30d", "--up-to", "3"}, {"--older-than", "30"}} {
		_, stderr, code := run(t, append([]string{"journal", "drop"}, args...)...)
		require.Equal(t, 2, code)
		require.Contains(t, stderr, "--older-than")
	}
}
