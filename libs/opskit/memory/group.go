package memory

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// group is a control group that limits the process.
type group struct {
	dir   string
	limit int64
	files fs.FS
	// Names of files and fields, which differ with the version.
	current, statFile string
	fields            []string // of memory.stat: file pages
	sockets           string   // file of memory that current does not have; empty: none
}

// noLimit and more is what version 1 says when there is none.
const noLimit = 1 << 60

// findGroups returns those of the process's control group and the ones above it that are limited, the nearest first. Any of them may
// be the one that gets full: one above has a larger limit, and more who use it. files is the root of the file system.
func findGroups(files fs.FS) (found []*group, err error) {
	membership, err := fs.ReadFile(files, "proc/self/cgroup")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // no control groups here
	}
	if err != nil {
		return nil, fmt.Errorf("read the process's cgroup: %w", err)
	}
	mounts, err := fs.ReadFile(files, "proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read the process's mounts: %w", err)
	}
	for line := range strings.Lines(string(membership)) {
		// number:controllers:path; version 2 has number 0 and no controllers.
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		v2 := parts[0] == "0" && parts[1] == ""
		if !v2 && !slices.Contains(strings.Split(parts[1], ","), "memory") {
			continue
		}
		found = append(found, limited(files, string(mounts), parts[2], v2)...)
	}
	return found, nil
}

// limited returns the groups from a process's one up to the root of the mount that have a limit.
func limited(files fs.FS, mounts, own string, v2 bool) (found []*group) {
	point, root, ok := mount(mounts, v2)
	if !ok {
		return nil
	}
	// The mount may show a part of the tree only, of which the path may be seen from outside.
	inside, ok := strings.CutPrefix(own, strings.TrimSuffix(root, "/"))
	if !ok || slices.Contains(strings.Split(inside, "/"), "..") {
		inside = "/"
	}
	for dir := path.Join(point, inside); ; dir = path.Dir(dir) {
		g := &group{dir: dir, files: files, current: "memory.usage_in_bytes", statFile: "memory.stat", fields: []string{"total_inactive_file", "total_active_file"}, sockets: "memory.kmem.tcp.usage_in_bytes"}
		name := "memory.limit_in_bytes"
		if v2 {
			g.current, g.fields, g.sockets, name = "memory.current", []string{"inactive_file", "active_file"}, "", "memory.max"
		}
		if n, err := g.number(name); err == nil && n > 0 && n < noLimit {
			g.limit = n
			found = append(found, g)
		}
		if dir == point || len(dir) <= len(point) {
			return found
		}
	}
}

// mount finds where a version's memory controller is mounted, and which part of its tree.
func mount(mounts string, v2 bool) (point, root string, ok bool) {
	for line := range strings.Lines(mounts) {
		// id parent dev root point options optional… - type source super-options
		before, after, found := strings.Cut(strings.TrimSpace(line), " - ")
		b, a := strings.Fields(before), strings.Fields(after)
		if !found || len(b) < 5 || len(a) < 3 {
			continue
		}
		if v2 && a[0] == "cgroup2" || !v2 && a[0] == "cgroup" && slices.Contains(strings.Split(a[2], ","), "memory") {
			return b[4], b[3], true
		}
	}
	return "", "", false
}

// number reads a file of one number; "max" is -1.
func (g *group) number(name string) (int64, error) {
	b, err := fs.ReadFile(g.files, strings.TrimPrefix(path.Join(g.dir, name), "/"))
	if err != nil {
		return 0, err
	}
	text := string(bytes.TrimSpace(b))
	if text == "max" {
		return -1, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return noLimit, nil
	}
	return n, err
}

// used is what the group holds and the kernel cannot take back.
func (g *group) used() (int64, error) {
	n, err := g.number(g.current)
	if err != nil {
		return 0, err
	}
	stat, err := fs.ReadFile(g.files, strings.TrimPrefix(path.Join(g.dir, g.statFile), "/"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(stat)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if slices.Contains(g.fields, name) {
			pages, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s of %s: %w", name, g.dir, err)
			}
			n -= pages
		}
	}
	if g.sockets != "" {
		sockets, err := g.number(g.sockets)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		n += sockets
	}
	return max(n, 0), nil
}
