package hostile

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// cgroup is a control group with a memory limit, of whatever version this machine has.
type cgroup struct {
	tb  testing.TB
	dir string
	v2  bool
}

// newCgroup makes one, which goes away with the test. It takes root, and a cgroup tree that may be written.
func newCgroup(tb testing.TB, limit int64) *cgroup {
	tb.Helper()
	g := &cgroup{tb: tb}
	name := fmt.Sprintf("parley-hostile-%d", os.Getpid())
	controllers, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
	if g.v2 = err == nil; g.v2 {
		require.Contains(tb, strings.Fields(string(controllers)), "memory", "no memory controller in /sys/fs/cgroup")
		g.dir = filepath.Join("/sys/fs/cgroup", name)
		if err := os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+memory"), 0o600); err != nil {
			require.NoError(tb, err, "give control groups their memory controller: run as root on a machine whose cgroup tree may be written")
		}
	} else {
		g.dir = filepath.Join("/sys/fs/cgroup/memory", name)
	}
	require.NoError(tb, os.Mkdir(g.dir, 0o700), "make a control group: run as root on a machine whose cgroup tree may be written")
	tb.Cleanup(func() {
		require.Eventually(tb, func() bool { return os.Remove(g.dir) == nil }, patience, 1e8, "remove %s", g.dir) // its processes have to be gone
	})
	g.write(map[bool]string{true: "memory.max", false: "memory.limit_in_bytes"}[g.v2], strconv.FormatInt(limit, 10))
	if g.v2 {
		g.write("memory.swap.max", "0")
	} else {
		// Version 1 counts the memory of sockets only with a limit of its own, apart from the other.
		g.write("memory.kmem.tcp.limit_in_bytes", strconv.FormatInt(1<<40, 10))
	}
	return g
}

func (g *cgroup) write(file, text string) {
	g.tb.Helper()
	require.NoError(g.tb, os.WriteFile(filepath.Join(g.dir, file), []byte(text), 0o600))
}

func (g *cgroup) number(file string) int64 {
	g.tb.Helper()
	b, err := os.ReadFile(filepath.Join(g.dir, file))
	require.NoError(g.tb, err)
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	require.NoError(g.tb, err)
	return n
}

// used is everything in the group, sockets included.
func (g *cgroup) used() int64 {
	g.tb.Helper()
	if g.v2 {
		return g.number("memory.current")
	}
	return g.number("memory.usage_in_bytes") + g.number("memory.kmem.tcp.usage_in_bytes")
}

// killed is how often the kernel ended a process of the group for want of memory.
func (g *cgroup) killed() int {
	g.tb.Helper()
	f, err := os.Open(filepath.Join(g.dir, map[bool]string{true: "memory.events", false: "memory.oom_control"}[g.v2]))
	require.NoError(g.tb, err)
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if n, ok := strings.CutPrefix(lines.Text(), "oom_kill "); ok {
			kills, err := strconv.Atoi(n)
			require.NoError(g.tb, err)
			return kills
		}
	}
	require.FailNow(g.tb, "the kernel does not say whether it killed")
	return 0
}
