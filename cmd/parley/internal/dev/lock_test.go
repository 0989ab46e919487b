package dev

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSecondHolderLearnsThePID(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock, err := lockDir(dir)
	require.NoError(t, err)

	_, err = lockDir(dir)
	var held *HeldError
	require.ErrorAs(t, err, &held)
	require.Equal(t, os.Getpid(), held.PID)

	require.NoError(t, lock.release())
	again, err := lockDir(dir)
	require.NoError(t, err)
	require.NoError(t, again.release())
}
