package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/sqlite"
)

func TestSmoke(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "journal.db")
	ctx := t.Context()
	b, err := sqlite.Open(ctx, path, sqlite.Options{})
	require.NoError(t, err)
	c, err := b.Claim(ctx, "room/1", "node-1", persistence.ClaimOptions{})
	require.NoError(t, err)
	last, err := b.Append(ctx, c, 0, []persistence.Event{{Manifest: "x", Payload: []byte("hello")}, {Manifest: "x"}})
	require.NoError(t, err)
	require.EqualValues(t, 2, last)
	ev, err := b.Read(ctx, "room/1", 1, 10)
	require.NoError(t, err)
	require.Len(t, ev, 2)
	require.NoError(t, b.SaveSnapshot(ctx, c, persistence.Snapshot{Seq: 2, Payload: []byte("s")}))
	require.NoError(t, b.Trim(ctx, c, 1))
	require.NoError(t, b.Ping(ctx))
	_, err = sqlite.Open(ctx, path, sqlite.Options{})
	var locked *sqlite.LockedError
	require.ErrorAs(t, err, &locked)
	t.Log(err)
	require.NoError(t, b.Close(ctx))
	b, err = sqlite.Open(ctx, path, sqlite.Options{})
	require.NoError(t, err)
	c, err = b.Claim(ctx, "room/1", "node-1", persistence.ClaimOptions{})
	require.NoError(t, err)
	rec, err := b.Recover(ctx, c)
	require.NoError(t, err)
	t.Logf("%+v %+v", c, rec)
	require.NoError(t, b.Close(ctx))
}
