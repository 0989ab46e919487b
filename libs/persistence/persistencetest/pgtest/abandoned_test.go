package pgtest_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence/persistencetest/pgtest"
)

// childEnv makes this test binary a process that has a cluster and waits to be killed.
const childEnv = "PARLEY_TEST_PGTEST_CHILD"

// runChild prints the cluster's data directory and the ids of its processes.
func runChild(how string) int {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := pgtest.New(ctx, pgtest.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var data string
	var pids []int32
	err = c.QueryRow(ctx, "SELECT current_setting('data_directory'), array_agg(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()").
		Scan(&data, &pids)
	if err == nil && how == "paused" {
		err = c.Pause()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	line := fmt.Sprint(data, " ", c.PID())
	for _, pid := range pids {
		line += " " + strconv.Itoa(int(pid))
	}
	fmt.Println(line)
	select {} // until the kill
}

// A test process that is killed leaves no process behind, and what it leaves on disk goes with the next cluster.
func TestClusterEndsWithAKilledProcess(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"running", "paused"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), childEnv+"="+how)
			child.Stderr = os.Stderr
			out, err := child.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, child.Start())
			line, readErr := bufio.NewReader(out).ReadString('\n')
			require.NoError(t, child.Process.Kill())
			require.Error(t, child.Wait(), "it ends only by the kill")
			require.NoError(t, readErr)

			fields := strings.Fields(line)
			require.Greater(t, len(fields), 3)
			for _, field := range fields[1:] {
				pid, err := strconv.Atoi(field)
				require.NoError(t, err)
				require.Eventually(t, func() bool { return ended(t, pid) }, patience, 10*time.Millisecond, "process %d lives on", pid)
			}
			require.DirExists(t, fields[0], "nobody was there to remove it")
			c, err := pgtest.New(limited(t), pgtest.Options{})
			require.NoError(t, err)
			require.NoError(t, c.Close())
			require.NoDirExists(t, filepath.Dir(fields[0]))
		})
	}
}

// ended also takes a process that only waits for somebody to ask how it ended.
func ended(t *testing.T, pid int) bool {
	t.Helper()
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	state, err := exec.Command("sh", "-c", `sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status"`, "sh", strconv.Itoa(pid)).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(state)) == "Z"
}
