// Command modcheck checks the rules of this repository that no compiler knows:
// which module may import which, that every module builds alone, that nothing
// for tests is shipped, and what no file may contain. It prints every violation and exits with status 1 when there
// is one.
//
//	go run ./tools/modcheck          all rules
//	go run ./tools/modcheck -static  only those that read files: a second
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"sort"
	"time"
)

func main() {
	static := flag.Bool("static", false, "skip the rules that build modules")
	root := flag.String("root", "", "directory with go.work (default: the one above the current directory)")
	parallel := flag.Int("p", 2, "modules built at the same time")
	flag.Parse()

	violations, err := check(context.Background(), *root, *static, *parallel, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "modcheck:", err)
		os.Exit(2)
	}
	for _, v := range violations {
		fmt.Fprintln(os.Stderr, v)
	}
	if len(violations) > 0 {
		fmt.Fprintf(os.Stderr, "modcheck: %d violations\n", len(violations))
		os.Exit(1)
	}
}

// check runs the rules on the workspace at root ("" = the one around the current
// directory) and returns the violations in file order.
func check(ctx context.Context, root string, static bool, parallel int, log io.Writer) ([]violation, error) {
	begin := time.Now()
	ws, err := openWorkspace(ctx, root)
	if err != nil {
		return nil, err
	}
	violations := checkGoLines(ws)
	violations = append(violations, checkRequires(ws)...)
	fromFiles, err := checkFiles(ws)
	if err != nil {
		return nil, err
	}
	violations = append(violations, fromFiles...)
	_, _ = fmt.Fprintf(log, "modcheck: read %d files of %d modules in %s\n", len(ws.files), len(ws.modules), time.Since(begin).Round(time.Millisecond))
	if !static {
		violations = append(violations, checkBuilds(ctx, ws, parallel, log)...)
		violations = append(violations, checkReleases(ctx, ws)...)
	}
	sort.SliceStable(violations, func(i, j int) bool { return violations[i].less(violations[j]) })
	return violations, nil
}

// violation is one broken rule at one place.
type violation struct {
	path string // relative to the root
	line int    // 0 = the file as a whole
	text string
}

func (v violation) String() string {
	if v.line == 0 {
		return v.path + ": " + v.text
	}
	return fmt.Sprintf("%s:%d: %s", v.path, v.line, v.text)
}

func (v violation) less(w violation) bool {
	if v.path != w.path {
		return v.path < w.path
	}
	return v.line < w.line
}
