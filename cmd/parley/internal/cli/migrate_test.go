package cli

import (
	"database/sql"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // to change a file behind the journal's back

	"github.com/parley-rt/parley/libs/persistence"
)

type migrationDocument struct {
	Journal       string          `json:"journal"`
	SchemaVersion int             `json:"schema_version"`
	Steps         []migrationStep `json:"steps"`
}

func migrationStatus(t *testing.T, url string) (doc migrationDocument) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(must(t, "migrate", "status", "--json", "--journal", url)), &doc))
	return doc
}

func TestMigrateUpDownUp(t *testing.T) {
	t.Parallel()
	onEachJournal(t, func(t *testing.T, url string) {
		at := "--journal=" + url
		require.Contains(t, must(t, "migrate", "up", at), "applied 1 journal\n")
		require.Regexp(t, `^the schema is at version \d+\n$`, must(t, "migrate", "up", at), "again is nothing")
		doc := migrationStatus(t, url)
		require.Len(t, doc.Steps, doc.SchemaVersion)
		require.WithinDuration(t, time.Now(), *doc.Steps[0].AppliedAt, time.Hour)
		table := must(t, "migrate", "status", at)
		require.Regexp(t, `(?m)^VERSION +NAME +APPLIED\n1 +journal +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\n`, table)
		require.NotContains(t, table, "missing")

		using(t, url, func(b persistence.Backend) { publish(t, b, "room/1", 3) })
		said := fails(t, "nothing was done: go back to version 0 with --yes", "migrate", "down", "--to", "0", at)
		require.Contains(t, said, "  1 journal\nNothing stays: every message")
		require.Regexp(t, `Events: (3|unknown) \(about\), in 1 partitions of .*B. Checkpoints of consumers: 0.`, said)
		using(t, url, func(b persistence.Backend) {
			head, err := b.Head(t.Context(), "room/1")
			require.NoError(t, err)
			require.EqualValues(t, 3, head.LastSeq)
		})
		fails(t, "invalid argument", "migrate", "down", "--to", "99", "--yes", at)
		require.Contains(t, must(t, "migrate", "down", "--to", "0", "--yes", at), "took back 1 journal\nthe schema is at version 0\n")
		doc = migrationStatus(t, url)
		require.Zero(t, doc.SchemaVersion)
		require.Nil(t, doc.Steps[0].AppliedAt)
		require.Regexp(t, `(?m)^1 +journal +missing$`, must(t, "migrate", "status", at))
		require.Equal(t, "the schema is at version 0\n", must(t, "migrate", "down", "--to", "0", at), "there is nothing to agree to")
		fails(t, "parley migrate up", "journal", "status", at)

		must(t, "migrate", "up", at)
		using(t, url, func(b persistence.Backend) { require.EqualValues(t, 2, publish(t, b, "room/1", 2).LastSeq) })
	})
}

// One step down keeps what the older schema has a place for.
func TestMigrateDownOneStep(t *testing.T) {
	t.Parallel()
	url := "sqlite://" + t.TempDir() + "/journal.db"
	at := "--journal=" + url
	using(t, url, func(b persistence.Backend) { publish(t, b, "room/1", 3) })
	said := fails(t, "go back to version 1 with --yes", "migrate", "down", "--to", "1", at)
	require.Regexp(t, `(?s)  3 session_attempt\n.*  2 feed\n.*Messages stay\.`, said)
	require.Regexp(t, `(?s)took back 3 session_attempt\n.*took back 2 feed\n`, must(t, "migrate", "down", "--to", "1", "--yes", at))
	require.Equal(t, 1, migrationStatus(t, url).SchemaVersion)
	require.Contains(t, must(t, "migrate", "up", at), "applied 2 feed\napplied 3 session_attempt\n")
	using(t, url, func(b persistence.Backend) { require.EqualValues(t, 4, publish(t, b, "room/1", 1).LastSeq) })
}

// changeSchema runs SQL on the journal as a binary of another version might have done.
func changeSchema(t *testing.T, journal, change string) {
	t.Helper()
	if path, isFile := strings.CutPrefix(journal, "sqlite://"); isFile {
		db, err := sql.Open("sqlite", path)
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), strings.ReplaceAll(change, "{schema}.", ""))
		require.NoError(t, err)
		require.NoError(t, db.Close())
		return
	}
	u, err := url.Parse(journal)
	require.NoError(t, err)
	require.NoError(t, cluster.Exec(t.Context(), strings.ReplaceAll(change, "{schema}", u.Query().Get("search_path"))))
}

// A binary that is older than the schema says so and touches nothing, unless the schema is known to be fit for it.
func TestSchemaOfANewerBinary(t *testing.T) {
	t.Parallel()
	const insert = `INSERT INTO {schema}.journal_migration (version, name, checksum, compatible, applied_at)
		SELECT max(version) + 1, 'future', 'x', max(version) + 1 - %, max(applied_at) FROM {schema}.journal_migration`
	onEachJournal(t, func(t *testing.T, url string) {
		at := "--journal=" + url
		must(t, "migrate", "up", at)
		changeSchema(t, url, strings.ReplaceAll(insert, "%", "1"))
		must(t, "migrate", "up", at)
		must(t, "journal", "status", at)
		require.Regexp(t, `(?m)^\d +future +\d{4}-`, must(t, "migrate", "status", at))
		fails(t, "schema version not supported", "migrate", "down", "--to", "0", "--yes", at)

		changeSchema(t, url, strings.ReplaceAll(insert, "%", "0"))
		for _, command := range [][]string{
			{"migrate", "up"}, {"migrate", "down", "--to", "0", "--yes"}, {"journal", "status"}, {"journal", "rotate"},
			{"dev", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"},
		} {
			fails(t, "run a newer one", append(command, at)...)
		}
		must(t, "migrate", "status", at)
	})
}

func TestMigrateOff(t *testing.T) {
	t.Parallel()
	onEachJournal(t, func(t *testing.T, url string) {
		fails(t, `run "parley migrate up"`, "dev", "--migrate", "off", "--journal", url,
			"--data", t.TempDir(), "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0")
	})
}
