package pgtest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestInstallIsFound(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	t.Setenv("PATH", filepath.Join(dir, "path"))
	put := func(path string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755))
	}
	elsewhere := filepath.Join(dir, "lib", "*", "bin")
	_, err = findBin(elsewhere)
	require.ErrorContains(t, err, "apt-get install -y --no-install-recommends postgresql")

	for _, version := range []string{"9", "15", "14"} {
		put(filepath.Join(dir, "lib", version, "bin", "initdb"))
	}
	bin, err := findBin(elsewhere)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "lib", "15", "bin"), bin, "the newest")

	put(filepath.Join(dir, "path", "initdb"))
	bin, err = findBin(elsewhere)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "path"), bin, "what the user chose")
}
