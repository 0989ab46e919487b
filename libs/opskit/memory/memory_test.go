package memory

import (
	"io/fs"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func tree(files map[string]string) fs.FS {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

const (
	v1Mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
	v2Mounts = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
)

func TestGroups(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files       map[string]string
		dir         string // of the one with the least room; empty: none is limited
		limit, used int64
		limited     int // how many are, if more than one
	}{
		"no control groups": {files: map[string]string{}},
		"version 2, unlimited": {files: map[string]string{
			"proc/self/cgroup": "0::/app\n", "proc/self/mountinfo": v2Mounts, "sys/fs/cgroup/app/memory.max": "max\n",
		}},
		"version 2, a container's own tree": {files: map[string]string{
			"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": v2Mounts, "sys/fs/cgroup/memory.max": "268435456\n",
			"sys/fs/cgroup/memory.current": "104857600\n", "sys/fs/cgroup/memory.stat": "anon 50\nfile 9\ninactive_file 1000\nactive_file 600\nsock 7\n",
		}, dir: "/sys/fs/cgroup", limit: 256 << 20, used: 100<<20 - 1600},
		"version 2, limited above": {files: map[string]string{
			"proc/self/cgroup": "0::/pod/app\n", "proc/self/mountinfo": v2Mounts,
			"sys/fs/cgroup/pod/app/memory.max": "max\n", "sys/fs/cgroup/pod/memory.max": "200\n",
			"sys/fs/cgroup/pod/memory.current": "150\n", "sys/fs/cgroup/pod/memory.stat": "inactive_file 20\nactive_file 0\n",
		}, dir: "/sys/fs/cgroup/pod", limit: 200, used: 130},
		"version 2, a tighter one above": {files: map[string]string{
			"proc/self/cgroup": "0::/pod/app\n", "proc/self/mountinfo": v2Mounts,
			"sys/fs/cgroup/pod/app/memory.max": "300\n", "sys/fs/cgroup/pod/app/memory.current": "100\n", "sys/fs/cgroup/pod/app/memory.stat": "",
			"sys/fs/cgroup/pod/memory.max": "200\n", "sys/fs/cgroup/pod/memory.current": "150\n", "sys/fs/cgroup/pod/memory.stat": "inactive_file 20\n",
		}, dir: "/sys/fs/cgroup/pod", limit: 200, used: 130, limited: 2},
		"version 2, a wider one above that others fill": {files: map[string]string{
			"proc/self/cgroup": "0::/slice/pod/app\n", "proc/self/mountinfo": v2Mounts,
			"sys/fs/cgroup/slice/pod/app/memory.max": "300\n", "sys/fs/cgroup/slice/pod/app/memory.current": "100\n", "sys/fs/cgroup/slice/pod/app/memory.stat": "",
			"sys/fs/cgroup/slice/pod/memory.max": "max\n",
			"sys/fs/cgroup/slice/memory.max":     "4000\n", "sys/fs/cgroup/slice/memory.current": "3950\n", "sys/fs/cgroup/slice/memory.stat": "inactive_file 20\n",
		}, dir: "/sys/fs/cgroup/slice", limit: 4000, used: 3930, limited: 2},
		"version 2, a wider one above that is fuller and has more room": {files: map[string]string{
			"proc/self/cgroup": "0::/slice/app\n", "proc/self/mountinfo": v2Mounts,
			"sys/fs/cgroup/slice/app/memory.max": "300\n", "sys/fs/cgroup/slice/app/memory.current": "150\n", "sys/fs/cgroup/slice/app/memory.stat": "",
			"sys/fs/cgroup/slice/memory.max": "4000\n", "sys/fs/cgroup/slice/memory.current": "3800\n", "sys/fs/cgroup/slice/memory.stat": "",
		}, dir: "/sys/fs/cgroup/slice/app", limit: 300, used: 150, limited: 2},
		"version 1, a wider one above that others fill": {files: map[string]string{
			"proc/self/cgroup": "4:memory:/pod/app\n", "proc/self/mountinfo": v1Mounts,
			"sys/fs/cgroup/memory/memory.limit_in_bytes":         "9223372036854771712\n",
			"sys/fs/cgroup/memory/pod/memory.limit_in_bytes":     "5000\n",
			"sys/fs/cgroup/memory/pod/memory.usage_in_bytes":     "5000\n",
			"sys/fs/cgroup/memory/pod/memory.stat":               "total_inactive_file 60\n",
			"sys/fs/cgroup/memory/pod/app/memory.limit_in_bytes": "1000\n",
			"sys/fs/cgroup/memory/pod/app/memory.usage_in_bytes": "300\n",
			"sys/fs/cgroup/memory/pod/app/memory.stat":           "",
		}, dir: "/sys/fs/cgroup/memory/pod", limit: 5000, used: 4940, limited: 2},
		"version 1 beside an empty version 2": {files: map[string]string{
			"proc/self/cgroup": "8:pids:/\n4:memory:/app\n0::/\n", "proc/self/mountinfo": v1Mounts,
			"sys/fs/cgroup/memory/memory.limit_in_bytes":     "9223372036854771712\n",
			"sys/fs/cgroup/memory/app/memory.limit_in_bytes": "1000\n", "sys/fs/cgroup/memory/app/memory.usage_in_bytes": "700\n",
			"sys/fs/cgroup/memory/app/memory.stat":                    "inactive_file 5\ntotal_inactive_file 100\ntotal_active_file 50\n",
			"sys/fs/cgroup/memory/app/memory.kmem.tcp.usage_in_bytes": "30\n",
		}, dir: "/sys/fs/cgroup/memory/app", limit: 1000, used: 580},
		"version 1, a path from outside the container": {files: map[string]string{
			"proc/self/cgroup":                           "4:cpu,memory:/docker/abc\n",
			"proc/self/mountinfo":                        "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,cpu,memory\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "500\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "10\n",
			"sys/fs/cgroup/memory/memory.stat": "total_inactive_file 100\n",
		}, dir: "/sys/fs/cgroup/memory", limit: 500, used: 0},
		"a path that the mount does not show": {files: map[string]string{
			"proc/self/cgroup": "0::/../other\n", "proc/self/mountinfo": v2Mounts, "sys/fs/cgroup/memory.max": "400\n",
			"sys/fs/cgroup/memory.current": "1\n", "sys/fs/cgroup/memory.stat": "",
		}, dir: "/sys/fs/cgroup", limit: 400, used: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := find(tree(c.files), 0)
			require.NoError(t, err)
			if c.dir == "" {
				require.Empty(t, b.sources)
				return
			}
			require.Len(t, b.sources, max(c.limited, 1))
			used, of, err := b.Used()
			require.NoError(t, err)
			require.Equal(t, c.used, used)
			require.Equal(t, c.limit, of)
			require.True(t, slices.ContainsFunc(b.sources, func(s source) bool { return s.name == "cgroup "+c.dir && s.limit == c.limit }))
		})
	}
}

// Which limit is nearest may change from one look to the next.
func TestTheFullestGroupTells(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"proc/self/cgroup": "0::/pod/app\n", "proc/self/mountinfo": v2Mounts,
		"sys/fs/cgroup/pod/app/memory.max": "300\n", "sys/fs/cgroup/pod/app/memory.current": "100\n", "sys/fs/cgroup/pod/app/memory.stat": "",
		"sys/fs/cgroup/pod/memory.max": "4000\n", "sys/fs/cgroup/pod/memory.current": "100\n", "sys/fs/cgroup/pod/memory.stat": "",
	}
	now := tree(files).(fstest.MapFS)
	b, err := find(now, 0)
	require.NoError(t, err)
	for _, c := range []struct {
		app, pod string
		used, of int64
	}{{"100", "100", 100, 300}, {"100", "3900", 3900, 4000}, {"250", "3900", 250, 300}, {"100", "4000", 4000, 4000}, {"100", "200", 100, 300}} {
		now["sys/fs/cgroup/pod/app/memory.current"] = &fstest.MapFile{Data: []byte(c.app)}
		now["sys/fs/cgroup/pod/memory.current"] = &fstest.MapFile{Data: []byte(c.pod)}
		used, of, err := b.Used()
		require.NoError(t, err)
		require.Equal(t, [2]int64{c.used, c.of}, [2]int64{used, of}, "%+v", c)
	}
	limit, name := b.Limit()
	require.Equal(t, int64(300), limit)
	require.Equal(t, "cgroup /sys/fs/cgroup/pod/app", name)
}

func TestLevels(t *testing.T) {
	t.Parallel()
	level := Open
	for _, c := range []struct {
		share float64
		want  Level
	}{
		{0.5, Open}, {0.79, Open}, {0.80, Refusing}, {0.76, Refusing}, {0.749, Open}, {0.79, Open},
		{0.93, Shedding}, {0.86, Shedding}, {0.84, Refusing}, {0.91, Refusing}, {0.92, Shedding}, {0.3, Open},
	} {
		level = level.Next(c.share)
		require.Equal(t, c.want, level, "%+v", c)
	}
	require.Equal(t, "open refusing shedding", Open.String()+" "+Refusing.String()+" "+Shedding.String())
}

// What this process holds is seen, in whatever counts here.
func TestUsed(t *testing.T) {
	b, err := Find(1 << 40)
	require.NoError(t, err)
	held := make([]byte, 64<<20)
	for i := range held {
		held[i] = 1
	}
	n, err := own()
	require.NoError(t, err)
	require.Greater(t, n, int64(64<<20))
	used, of, err := b.Used()
	require.NoError(t, err)
	require.Positive(t, used)
	require.LessOrEqual(t, used, of)
	runtime.KeepAlive(held)

	limit, name := (&Budget{sources: []source{{name: "a", limit: 900}, {name: "b", limit: 100}}}).Limit()
	require.Equal(t, int64(100), limit)
	require.Equal(t, "b", name)
}

// Not parallel: the limit is the process's.
func TestLimitRuntime(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "")
	before := debug.SetMemoryLimit(-1)
	b := &Budget{sources: []source{{name: "a", limit: 5 << 40}}}
	restore := b.LimitRuntime()
	require.Equal(t, int64(3<<40), debug.SetMemoryLimit(-1))
	restore()
	require.Equal(t, before, debug.SetMemoryLimit(-1))
	t.Setenv("GOMEMLIMIT", "1GiB")
	b.LimitRuntime()
	require.Equal(t, before, debug.SetMemoryLimit(-1))
}
