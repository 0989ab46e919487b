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

// times are what /proc tells of a process.
type times struct {
	own, ended    time.Duration // of itself, and of children that ended
	residentBytes int64
}

// processUsage reads CPU time (user and system) and resident memory of a process from /proc.
func processUsage(pid int) (usage, error) {
	t, err := processTimes(pid)
	return usage{cpu: t.own, residentBytes: t.residentBytes}, err
}

func processTimes(pid int) (times, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return times{}, fmt.Errorf("read usage of process %d: %w", pid, err)
	}
	// The command name in parentheses may hold spaces: fields are counted after it.
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return times{}, fmt.Errorf("read usage of process %d: no command name in %q", pid, stat)
	}
	fields := bytes.Fields(stat[end+1:])
	const utime, stime, cutime, cstime, rss = 11, 12, 13, 14, 21 // proc(5), where the state is number 0
	if len(fields) <= rss {
		return times{}, fmt.Errorf("read usage of process %d: %d fields", pid, len(fields))
	}
	var numbers [5]int64
	for i, field := range []int{utime, stime, cutime, cstime, rss} {
		if numbers[i], err = strconv.ParseInt(string(fields[field]), 10, 64); err != nil {
			return times{}, fmt.Errorf("read usage of process %d: %w", pid, err)
		}
	}
	return times{
		own:           time.Duration(numbers[0]+numbers[1]) * clockTick,
		ended:         time.Duration(numbers[2]+numbers[3]) * clockTick,
		residentBytes: numbers[4] * int64(os.Getpagesize()),
	}, nil
}

// familyUsage is the CPU time of a process, of its children, and of those that have ended: of a Postgres server, given its first
// process. Children of children are not looked for.
func familyUsage(pid int) (usage, error) {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return usage{}, fmt.Errorf("read children of process %d: %w", pid, err)
	}
	all, err := processTimes(pid)
	if err != nil {
		return usage{}, err
	}
	sum := usage{cpu: all.own + all.ended}
	for _, child := range bytes.Fields(children) {
		id, err := strconv.Atoi(string(child))
		if err != nil {
			return usage{}, fmt.Errorf("read children of process %d: %w", pid, err)
		}
		if one, err := processTimes(id); err == nil { // else it has ended just now
			sum.cpu += one.own + one.ended
		}
	}
	return sum, nil
}
