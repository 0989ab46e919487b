package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/mod/modfile"
)

// workspace is the repository as the rules see it.
type workspace struct {
	root    string
	goLine  string   // the version in go.work
	files   []string // tracked files and new ones that are not ignored, relative, sorted
	modules []module // sorted by dir
}

// module is one module of the workspace.
type module struct {
	dir  string // relative to the root, with slashes
	path string // import path
	mod  *modfile.File
}

func openWorkspace(ctx context.Context, root string) (*workspace, error) {
	root, err := findRoot(root)
	if err != nil {
		return nil, err
	}
	files, err := listFiles(ctx, root)
	if err != nil {
		return nil, err
	}
	return readWorkspace(root, files)
}

// findRoot walks up from dir to the directory with go.work.
func findRoot(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find workspace: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find workspace: no go.work in this directory or above")
		}
		dir = parent
	}
}

// listFiles asks git, so that what a clone would not contain does not count.
func listFiles(ctx context.Context, root string) ([]string, error) {
	cmd := exec.CommandContext(ctx, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list files with git: %w", err)
	}
	var files []string
	for _, name := range strings.Split(string(out), "\x00") {
		// A file deleted but not yet committed is still listed.
		if info, err := os.Lstat(filepath.Join(root, name)); name != "" && err == nil && info.Mode().IsRegular() {
			files = append(files, name)
		}
	}
	sort.Strings(files)
	return files, nil
}

func readWorkspace(root string, files []string) (*workspace, error) {
	content, err := os.ReadFile(filepath.Join(root, "go.work"))
	if err != nil {
		return nil, fmt.Errorf("read workspace: %w", err)
	}
	work, err := modfile.ParseWork("go.work", content, nil)
	if err != nil {
		return nil, fmt.Errorf("read workspace: %w", err)
	}
	ws := &workspace{root: root, files: files}
	if work.Go != nil {
		ws.goLine = work.Go.Version
	}
	for _, use := range work.Use {
		m, err := readModule(root, filepath.ToSlash(filepath.Clean(use.Path)))
		if err != nil {
			return nil, err
		}
		ws.modules = append(ws.modules, m)
	}
	sort.Slice(ws.modules, func(i, j int) bool { return ws.modules[i].dir < ws.modules[j].dir })
	return ws, nil
}

func readModule(root, dir string) (module, error) {
	name := dir + "/go.mod"
	content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		return module{}, fmt.Errorf("read module: %w", err)
	}
	mod, err := modfile.Parse(name, content, nil)
	if err != nil {
		return module{}, fmt.Errorf("read module: %w", err)
	}
	if mod.Module == nil {
		return module{}, fmt.Errorf("read module: %s has no module line", name)
	}
	return module{dir: dir, path: mod.Module.Mod.Path, mod: mod}, nil
}

// moduleOf returns the module a file belongs to, nil for the root's own files.
func (ws *workspace) moduleOf(file string) *module {
	var best *module
	for i := range ws.modules {
		m := &ws.modules[i]
		if strings.HasPrefix(file, m.dir+"/") && (best == nil || len(m.dir) > len(best.dir)) {
			best = m
		}
	}
	return best
}
