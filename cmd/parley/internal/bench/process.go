package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// clockTick is the unit of /proc/<pid>/stat times: 1/100 s on every Linux that Go supports.
const clockTick = 10 * time.Millisecond

// usage is what a process has consumed so far.
type usage struct {
	cpu           time.Duration
	residentBytes int64
}

// processUsage reads CPU time (user and system) and resident memory of a process from /proc.
func processUsage(pid int) (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, fmt.Errorf("read usage of process %d: %w", pid, err)
	}
	// The command name in parentheses may hold spaces: fields are counted after it.
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return usage{}, fmt.Errorf("read usage of process %d: no command name in %q", pid, stat)
	}
	fields := bytes.Fields(stat[end+1:])
	const utime, stime, rss = 11, 12, 21
	if len(fields) <= rss {
		return usage{}, fmt.Errorf("read usage of process %d: %d fields", pid, len(fields))
	}
	var numbers [3]int64
	for i, field := range []int{utime, stime, rss} {
		if numbers[i], err = strconv.ParseInt(string(fields[field]), 10, 64); err != nil {
			return usage{}, fmt.Errorf("read usage of process %d: %w", pid, err)
		}
	}
	return usage{
		cpu:           time.Duration(numbers[0]+numbers[1]) * clockTick,
		residentBytes: numbers[2] * int64(os.Getpagesize()),
	}, nil
}
