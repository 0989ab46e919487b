package migrations_test

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/internal/migrations"
)

func files(ups ...string) fstest.MapFS {
	out := fstest.MapFS{}
	for i, up := range ups {
		prefix := "migrations/000" + string(rune('1'+i)) + "_step"
		out[prefix+".up.sql"] = &fstest.MapFile{Data: []byte(up)}
		out[prefix+".down.sql"] = &fstest.MapFile{Data: []byte("DROP")}
	}
	return out
}

func applied(t *testing.T, fsys fstest.MapFS) map[int]migrations.Applied {
	steps, err := migrations.Load(fsys)
	require.NoError(t, err)
	out := map[int]migrations.Applied{}
	for _, s := range steps {
		out[s.Version] = migrations.Applied{Checksum: s.Checksum, Compatible: s.Compatible}
	}
	return out
}

func TestCheck(t *testing.T) {
	t.Parallel()
	const adds, breaks = "-- compatible: 1\nADD", "CHANGE"
	for name, c := range map[string]struct {
		binary, store fstest.MapFS
		says          string
	}{
		"same":                       {files("A"), files("A"), ""},
		"store is older":             {files("A", breaks), files("A"), ""},
		"store is newer":             {files("A"), files("A", breaks), "this one knows up to 1: run a newer one"},
		"store only has additions":   {files("A"), files("A", adds), ""},
		"an addition, then a change": {files("A"), files("A", adds, breaks), "needs a binary that knows version 3"},
		"another step":               {files("A"), files("B"), "is not the one of this binary"},
		"empty store":                {files("A"), files(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			steps, err := migrations.Load(c.binary)
			require.NoError(t, err)
			err = migrations.Check(steps, applied(t, c.store))
			if c.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, persistence.ErrSchemaVersion)
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	hole := fstest.MapFS{"migrations/0002_x.up.sql": {}, "migrations/0002_x.down.sql": {}}
	_, err := migrations.Load(hole)
	require.ErrorContains(t, err, "want number 0001")
	oneWay := fstest.MapFS{"migrations/0001_x.up.sql": {}}
	_, err = migrations.Load(oneWay)
	require.ErrorContains(t, err, "way back")
	_, err = migrations.Load(files("-- compatible: 2\n"))
	require.ErrorContains(t, err, "itself is 1")
}

func TestMissing(t *testing.T) {
	t.Parallel()
	steps, err := migrations.Load(files("A", "B", "C"))
	require.NoError(t, err)
	missing := migrations.Missing(steps, applied(t, files("A", "B")))
	require.Len(t, missing, 1)
	require.Equal(t, 3, missing[0].Version)
	require.Len(t, steps, 3)
}

func TestCheckFindsHoles(t *testing.T) {
	t.Parallel()
	fsys := files("A", "B", "C")
	steps, err := migrations.Load(fsys)
	require.NoError(t, err)
	store := applied(t, fsys)
	delete(store, 2)
	err = migrations.Check(steps, store)
	require.ErrorIs(t, err, persistence.ErrSchemaVersion)
	require.ErrorContains(t, err, "has version 3 without 2")
	require.NoError(t, migrations.Check(steps[:1], map[int]migrations.Applied{1: store[1], 9: {Compatible: 1}}),
		"what lies between is for those who know it")
}
