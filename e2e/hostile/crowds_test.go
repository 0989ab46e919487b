package hostile

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// A process may have so many open files; a larger crowd is several processes, which are this test program once more.
const (
	crowdVariable = "PARLEY_HOSTILE_CROWD" // host:port
	countVariable = "PARLEY_HOSTILE_COUNT"
	crowdOfOne    = 10_000
)

// beCrowd is what such a process does: it opens its sockets, says so, and keeps them until its input ends.
func beCrowd(addr string) int {
	n, err := strconv.Atoi(os.Getenv(countVariable))
	var c *crowd
	if err == nil {
		c, err = gather(context.Background(), addr, n, 250, nil)
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "crowd:", err)
		return 1
	}
	_, _ = fmt.Fprintln(os.Stdout, "all here")
	_, _ = io.Copy(io.Discard, os.Stdin)
	c.leave()
	return 0
}

// sendCrowds opens n sockets that say nothing, and returns when all are open; leave closes them.
func sendCrowds(ctx context.Context, tb testing.TB, addr string, n int) (leave func()) {
	tb.Helper()
	self, err := os.Executable()
	require.NoError(tb, err)
	var (
		ends []io.Closer
		outs []io.Reader
		wait []*exec.Cmd
	)
	leave = sync.OnceFunc(func() {
		for _, e := range ends {
			_ = e.Close()
		}
		for _, cmd := range wait {
			if err := cmd.Wait(); err != nil {
				tb.Errorf("crowd: %v", err)
			}
		}
	})
	tb.Cleanup(leave)
	for ; n > 0; n -= crowdOfOne {
		cmd := exec.CommandContext(ctx, self)
		cmd.Env = append(os.Environ(), crowdVariable+"="+addr, countVariable+"="+strconv.Itoa(min(n, crowdOfOne)))
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		require.NoError(tb, err)
		out, err := cmd.StdoutPipe()
		require.NoError(tb, err)
		require.NoError(tb, cmd.Start())
		ends, outs, wait = append(ends, in), append(outs, out), append(wait, cmd)
	}
	for _, out := range outs {
		line, err := bufio.NewReader(out).ReadString('\n')
		require.NoError(tb, err, "a crowd did not get there")
		require.Equal(tb, "all here\n", line)
	}
	return leave
}
