package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// failpointsMarker is in every binary in which libs/opskit/failpoint can do something, and in no other.
const failpointsMarker = "TEST_PARLEY_FAILPOINTS"

// checkReleases proves that what is shipped cannot be broken on purpose: no command has a package for tests in it, and none is
// built with crash points. Commands below a directory of a name that ends in "test" are not shipped.
func checkReleases(ctx context.Context, ws *workspace) []violation {
	var all []violation
	for _, m := range ws.modules {
		if !matches("services/*", m.dir) && !matches("cmd/*", m.dir) {
			continue
		}
		dir := filepath.Join(ws.root, filepath.FromSlash(m.dir))
		out, err := goAlone(ctx, dir, "list", "-f", "{{if eq .Name \"main\"}}{{.ImportPath}}{{end}}", "./...")
		if err != nil {
			all = append(all, violation{path: m.dir, text: fmt.Sprintf("list commands: %v\n%s", err, indent(out))})
			continue
		}
		for command := range strings.FieldsSeq(out) {
			if !forTests(command) {
				all = append(all, checkRelease(ctx, dir, command)...)
			}
		}
	}
	return all
}

// forTests tells packages that only tests have a use for, by their names.
func forTests(importPath string) bool {
	rest, ours := strings.CutPrefix(importPath, prefix)
	if !ours {
		return false
	}
	for element := range strings.SplitSeq(rest, "/") {
		if strings.HasSuffix(element, "test") {
			return true
		}
	}
	return false
}

func checkRelease(ctx context.Context, dir, command string) []violation {
	path := strings.TrimPrefix(command, prefix)
	out, err := goAlone(ctx, dir, "list", "-deps", command)
	if err != nil {
		return []violation{{path: path, text: fmt.Sprintf("list packages: %v\n%s", err, indent(out))}}
	}
	var all []violation
	for dependency := range strings.FieldsSeq(out) {
		if forTests(dependency) {
			all = append(all, violation{path: path, text: "has " + strings.TrimPrefix(dependency, prefix) + " in it, which is for tests"})
		}
	}
	temp, err := os.MkdirTemp("", "modcheck-")
	if err != nil {
		return append(all, violation{path: path, text: err.Error()})
	}
	defer func() { _ = os.RemoveAll(temp) }() // the system clears up what stays
	binary := filepath.Join(temp, "binary")
	if out, err := goAlone(ctx, dir, "build", "-o", binary, command); err != nil {
		return append(all, violation{path: path, text: fmt.Sprintf("build: %v\n%s", err, indent(out))})
	}
	body, err := os.ReadFile(binary)
	if err != nil {
		return append(all, violation{path: path, text: err.Error()})
	}
	if bytes.Contains(body, []byte(failpointsMarker)) {
		all = append(all, violation{path: path, text: "is built with crash points: without the tag failpoints it would have none"})
	}
	return all
}
