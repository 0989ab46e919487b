package benchtest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// tick is the unit of times in /proc/<pid>/stat on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// cpu is the CPU time that a server and this process have used so far.
type cpu struct{ server, client time.Duration }

func (c cpu) since(before cpu) cpu {
	return cpu{server: c.server - before.server, client: c.client - before.client}
}

// readCPU reads both; postmaster 0 is no server.
func readCPU(postmaster int) (c cpu, err error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return c, fmt.Errorf("read CPU time: %w", err)
	}
	c.client = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	if postmaster != 0 {
		c.server, err = serverCPU(postmaster)
	}
	return c, err
}

// serverCPU adds up the postmaster, its children, and those of them that have ended. All processes of a server are
// children of the postmaster.
func serverCPU(postmaster int) (time.Duration, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, fmt.Errorf("list processes: %w", err)
	}
	ticks, found := int64(0), false
	for _, path := range paths {
		body, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended: the postmaster has its time
		}
		pid, parent, self, children, err := parseStat(body)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", path, err)
		}
		switch postmaster {
		case pid:
			found = true
			ticks += self + children
		case parent:
			ticks += self
		}
	}
	if !found {
		return 0, fmt.Errorf("no process %d in /proc: CPU time of a server is measured on Linux, while it runs", postmaster)
	}
	return time.Duration(ticks) * tick, nil
}

// parseStat reads a process's /proc/<pid>/stat: times are in ticks, those of children are of reaped ones.
func parseStat(body []byte) (pid, parent int, self, children int64, err error) {
	id, _, _ := bytes.Cut(body, []byte(" "))
	// The name, in parentheses, may itself contain any of this: what follows the last one counts.
	fields := bytes.Fields(body[bytes.LastIndexByte(body, ')')+1:])
	const parentField, firstTime = 1, 11 // utime, stime, cutime, cstime
	if len(fields) < firstTime+4 {
		return 0, 0, 0, 0, fmt.Errorf("unknown format %q", body)
	}
	if pid, err = strconv.Atoi(string(id)); err != nil {
		return 0, 0, 0, 0, fmt.Errorf("process id: %w", err)
	}
	if parent, err = strconv.Atoi(string(fields[parentField])); err != nil {
		return 0, 0, 0, 0, fmt.Errorf("parent: %w", err)
	}
	var times [4]int64
	for i := range times {
		if times[i], err = strconv.ParseInt(string(fields[firstTime+i]), 10, 64); err != nil {
			return 0, 0, 0, 0, fmt.Errorf("time %d: %w", i, err)
		}
	}
	return pid, parent, times[0] + times[1], times[2] + times[3], nil
}
