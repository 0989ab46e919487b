package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// checkBuilds proves that each module stands alone: outside the workspace it
// builds, vets (which compiles its tests too) and has a tidy go.mod.
func checkBuilds(ctx context.Context, ws *workspace, parallel int, log io.Writer) []violation {
	results := make([][]violation, len(ws.modules))
	slots := make(chan struct{}, max(parallel, 1))
	var wg sync.WaitGroup
	var mu sync.Mutex
	for i, m := range ws.modules {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			begin := time.Now()
			results[i] = checkBuild(ctx, ws, m)
			mu.Lock()
			defer mu.Unlock()
			_, _ = fmt.Fprintf(log, "modcheck: %-18s alone %6s\n", m.dir, time.Since(begin).Round(100*time.Millisecond))
		})
	}
	wg.Wait()
	return slices.Concat(results...)
}

func checkBuild(ctx context.Context, ws *workspace, m module) []violation {
	var all []violation
	// -o: a module with one main package would leave its binary in the tree, or fail over a directory of that name.
	for _, args := range [][]string{{"mod", "tidy", "-diff"}, {"build", "-o", os.DevNull, "./..."}, {"vet", "./..."}} {
		if out, err := goAlone(ctx, filepath.Join(ws.root, filepath.FromSlash(m.dir)), args...); err != nil {
			all = append(all, violation{path: m.dir, text: fmt.Sprintf("GOWORK=off go %s: %v\n%s", strings.Join(args, " "), err, indent(out))})
		}
	}
	return all
}

// goAlone runs the go command in a module as if there were no workspace.
func goAlone(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n    ")
}
