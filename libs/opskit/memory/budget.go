package memory

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"runtime/debug"
)

// runtimeShare of the limit is what the Go runtime may use, garbage included, before it collects as hard as it may. The rest is for
// what the kernel keeps for sockets, which is as much as a third of what the process keeps for them, and for the time until whoever
// asks for memory has been refused.
const runtimeShare = 0.6

// ErrUnknown says that nothing on this system tells how much memory there is, and none was set.
var ErrUnknown = errors.New("the memory limit of this process is not known: set one")

// Budget is what the process may use. Its methods are safe for concurrent use.
type Budget struct{ sources []source }

// source is one limit and what counts towards it.
type source struct {
	name  string
	limit int64
	used  func() (int64, error)
}

// Find returns the limits that hold for this process. set, in bytes, is what an operator says; 0: nothing. Without it, and without a
// cgroup that limits the process, it is the machine's memory.
func Find(set int64) (*Budget, error) {
	b, err := find(systemFiles(), set)
	if err != nil {
		return nil, err
	}
	if len(b.sources) == 0 {
		total, err := machine()
		if err != nil {
			return nil, err
		}
		b.sources = append(b.sources, source{"machine", total, own})
	}
	return b, nil
}

// find is Find without the machine's memory.
func find(files fs.FS, set int64) (*Budget, error) {
	b := &Budget{}
	if set > 0 {
		b.sources = append(b.sources, source{"setting", set, own})
	}
	groups, err := findGroups(files)
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		b.sources = append(b.sources, source{"cgroup " + g.dir, g.limit, g.used})
	}
	return b, nil
}

// Limit is the smallest one, in bytes, and who says so.
func (b *Budget) Limit() (bytes int64, name string) {
	bytes = math.MaxInt64
	for _, s := range b.sources {
		if s.limit < bytes {
			bytes, name = s.limit, s.name
		}
	}
	return bytes, name
}

// Used is what is used of the limit that leaves the least room at this moment, in bytes. The share that is used would not tell which one
// that is: of a machine's 64 GiB a twentieth is more than what a service of 1 GiB may ever use.
func (b *Budget) Used() (used, of int64, err error) {
	least := int64(math.MaxInt64)
	for _, s := range b.sources {
		n, err := s.used()
		if err != nil {
			return 0, 0, fmt.Errorf("read what is used of the memory of the %s: %w", s.name, err)
		}
		if room := s.limit - n; room < least {
			least, used, of = room, n, s.limit
		}
	}
	return used, of, nil
}

// LimitRuntime has the Go runtime keep to three fifths of the limit as far as it can, unless GOMEMLIMIT says something else.
func (b *Budget) LimitRuntime() (restore func()) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	limit, _ := b.Limit()
	before := debug.SetMemoryLimit(int64(float64(limit) * runtimeShare))
	return func() { debug.SetMemoryLimit(before) }
}
