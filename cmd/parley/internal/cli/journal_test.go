package cli

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/cmd/parley/internal/journal"
	"github.com/parley-rt/parley/libs/persistence"
)

func journalStatus(t *testing.T, url string) (s journal.Status) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(must(t, "journal", "status", "--json", "--journal", url)), &s))
	return s
}

func TestJournalStatus(t *testing.T) {
	t.Parallel()
	onEachJournal(t, func(t *testing.T, url string) {
		var claim persistence.Claim
		using(t, url, func(b persistence.Backend) {
			claim = publish(t, b, "room/1", 5)
			c, err := b.ClaimCheckpoint(t.Context(), "search", claim.Lane, "indexer")
			require.NoError(t, err)
			_, next, err := b.ReadLane(t.Context(), claim.Lane, c.Pos, 2)
			require.NoError(t, err)
			require.NoError(t, b.SaveCheckpoint(t.Context(), c, next))
		})
		s := journalStatus(t, url)
		kind, _, _ := strings.Cut(url, ":")
		require.Equal(t, kind, s.Backend)
		require.Equal(t, migrationStatus(t, url).SchemaVersion, s.SchemaVersion)
		require.NotEmpty(t, s.Lanes)
		require.EqualValues(t, claim.Lane, s.Lanes[claim.Lane].Lane)
		require.Len(t, s.Partitions, 1)
		require.True(t, s.Partitions[0].Current)
		require.Len(t, s.Checkpoints, 1)
		c := s.Checkpoints[0]
		require.Equal(t, s.Lanes[claim.Lane].Position-c.Position, c.Lag)
		require.Equal(t, "search", c.Consumer)
		require.Equal(t, "indexer", c.Owner)
		require.GreaterOrEqual(t, c.Lag, uint64(3))

		table := must(t, "journal", "status", "--journal", url)
		require.Regexp(t, `(?m)^backend +`+kind+`\nschema +version \d+\n\nLANE +POSITION +TRIMMED UP TO\n0 +\d+ +0\n`, table)
		require.Regexp(t, `(?m)^PARTITION .*\n0 +(5|unknown) +[\d.]+ \w+ +current$`, table)
		require.Regexp(t, `(?m)^CONSUMER .*\nsearch +\d+ +\d+ +`+strconv.FormatUint(c.Lag, 10)+` +indexer$`, table)
	})
}

func TestJournalRotateAndDrop(t *testing.T) {
	t.Parallel()
	onEachJournal(t, func(t *testing.T, url string) {
		at := "--journal=" + url
		using(t, url, func(b persistence.Backend) {
			c, err := b.ClaimCheckpoint(t.Context(), "search", publish(t, b, "room/1", 5).Lane, "indexer")
			require.NoError(t, err)
			require.Zero(t, c.Pos)
		})
		fails(t, `begin a new one with "parley journal rotate" first`, "journal", "drop", "--up-to", "0", "--yes", at)
		require.Equal(t, "new events go to partition 3\n", must(t, "journal", "rotate", "--part", "3", at))
		require.Equal(t, "new events go to partition 3\n", must(t, "journal", "rotate", "--part", "2", at), "there is no way back")

		said := fails(t, "nothing was done: drop partitions up to 0 with --yes", "journal", "drop", "--up-to", "0", at)
		require.Regexp(t, `(?m)^PARTITION .*\n0 +(5|unknown) +[\d.]+ \w+$`, said)
		said = fails(t, "partition 0 is still needed", "journal", "drop", "--up-to", "0", "--yes", at)
		require.Contains(t, said, "Partition 0 stays, and so do newer ones.\n1 streams have no snapshot beyond")
		require.Contains(t, said, ":\n  room/1\nThese consumers have not read it to its end:\n  search\n")
		require.Len(t, journalStatus(t, url).Partitions, 2)

		using(t, url, func(b persistence.Backend) {
			c, err := b.Claim(t.Context(), "room/1", "node", persistence.ClaimOptions{})
			require.NoError(t, err)
			require.NoError(t, b.SaveSnapshot(t.Context(), c, persistence.Snapshot{Seq: c.LastSeq, Payload: []byte("x")}))
			require.NoError(t, b.DeleteCheckpoint(t.Context(), "search"))
		})
		require.Equal(t, "dropped partition 0\n", must(t, "journal", "drop", "--up-to", "0", "--yes", at))
		require.Equal(t, "there is no partition up to 0\n", must(t, "journal", "drop", "--up-to", "0", "--yes", at))
		require.Len(t, journalStatus(t, url).Partitions, 1)

		before := time.Now().Unix() / 86400
		must(t, "journal", "rotate", at)
		partitions := journalStatus(t, url).Partitions
		newest := partitions[len(partitions)-1]
		require.True(t, newest.Current)
		require.GreaterOrEqual(t, int64(newest.Partition), before)
		require.LessOrEqual(t, int64(newest.Partition), time.Now().Unix()/86400)
	})
}

func TestJournalRestored(t *testing.T) {
	t.Parallel()
	onEachJournal(t, func(t *testing.T, url string) {
		at := "--journal=" + url
		var before persistence.Claim
		using(t, url, func(b persistence.Backend) {
			before = publish(t, b, "room/1", 5)
			publish(t, b, "room/2", 1)
		})
		said := fails(t, "nothing was done: mark the journal as restored with --yes", "journal", "restored", at)
		require.Contains(t, said, "Stop every service")
		require.Contains(t, must(t, "journal", "restored", "--yes", at), "marked as restored: 2 streams have no owner and a new incarnation")
		using(t, url, func(b persistence.Backend) {
			head, err := b.Head(t.Context(), "room/1")
			require.NoError(t, err)
			require.Empty(t, head.Owner)
			require.NotEqual(t, before.Incarnation, head.Incarnation)
			_, err = b.Append(t.Context(), before, before.LastSeq, []persistence.Event{{Payload: []byte("x")}})
			require.ErrorIs(t, err, persistence.ErrFenced)
		})
	})
}

// Every command says what is wrong with the journal it was given, and how to give it another.
func TestJournalMistakes(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := silent.Addr().String()
	require.NoError(t, silent.Close())
	used := "sqlite://" + filepath.Join(t.TempDir(), "journal.db")
	missing := filepath.Join(t.TempDir(), "missing", "journal.db")
	using(t, used, func(persistence.Backend) {
		for _, mistake := range []struct{ url, says string }{
			{"postgres://parley:canary@" + nobody + "/parley", "set PARLEY_JOURNAL_URL or --journal to a journal that can be reached"},
			{"postgres://parley:can@ary@h/parley", "percent-encode"},
			{"mysql://root:canary@h/x", `unknown scheme "mysql"`},
			{used, "in use by process " + strconv.Itoa(os.Getpid())},
			{"memory://", "--journal"},
			{"sqlite://" + missing, "parley migrate up"},
		} {
			for _, command := range [][]string{
				{"migrate", "status"}, {"migrate", "down", "--to", "0", "--yes"}, {"journal", "status"}, {"journal", "rotate"},
				{"journal", "drop", "--up-to", "0"}, {"journal", "restored", "--yes"},
			} {
				fails(t, mistake.says, append(command, "--journal", mistake.url)...)
			}
		}
	})
	require.NoDirExists(t, filepath.Dir(missing))
	fails(t, "set PARLEY_JOURNAL_URL or --journal to a journal that can be reached", "dev", "--journal", "postgres://parley:canary@"+nobody+"/parley",
		"--data", t.TempDir(), "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0")
	_, stderr, code := run(t, "migrate", "down")
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "--to")
}

// Without --journal it is the variable's, or the one in the data directory. Not parallel: it changes the environment.
func TestJournalOfTheEnvironment(t *testing.T) {
	data := t.TempDir()
	t.Setenv("PARLEY_DATA_DIR", data)
	must(t, "migrate", "up")
	require.FileExists(t, filepath.Join(data, "journal.db"))
	require.Contains(t, must(t, "journal", "status"), "journal  sqlite://"+filepath.Join(data, "journal.db")+"\n")

	url := strings.Replace(cluster.SchemaURL(t), "parley@", "parley:canary@", 1)
	file := filepath.Join(t.TempDir(), "url")
	require.NoError(t, os.WriteFile(file, []byte(url+"\n"), 0o600))
	t.Setenv("PARLEY_JOURNAL_URL_FILE", file)
	must(t, "migrate", "up")
	require.Contains(t, must(t, "journal", "status"), "journal  postgres://parley:xxxxx@")
	require.NoError(t, os.Unsetenv("PARLEY_JOURNAL_URL_FILE"))
	t.Setenv("PARLEY_JOURNAL_URL", url)
	require.Contains(t, must(t, "journal", "status"), "journal  postgres://parley:xxxxx@")
	t.Setenv("PARLEY_YES", "true")
	_, stderr, code := run(t, "journal", "restored")
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "unknown variable PARLEY_YES", "agreeing takes a flag")
}

func TestByteSize(t *testing.T) {
	t.Parallel()
	for size, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 5 << 30: "5.0 GiB", 1 << 62: "4096.0 PiB"} {
		require.Equal(t, want, byteSize(size))
	}
}
