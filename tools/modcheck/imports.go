package main

import (
	"fmt"
	"slices"
	"strings"
)

// prefix begins the import paths of all modules of the workspace; what follows
// it is the module's directory.
const prefix = "github.com/parley-rt/parley/"

// importRule lets the modules in the directories that match from import those
// that match to. A pattern ending in "/*" matches one level below it.
type importRule struct {
	from string
	to   []string
}

// importRules is the whole dependency order. A module without a rule may not be
// in the workspace: adding one is a decision to write down here.
func importRules() []importRule {
	return []importRule{
		{"libs/protocol", nil},
		{"libs/opskit", nil},
		{"libs/persistence", nil},
		{"libs/dcplane", nil},
		{"libs/ratelimit", nil},
		{"libs/actorkit", []string{"libs/persistence", "libs/protocol"}},
		// Services meet on the wire, never in Go.
		{"services/*", []string{"libs/*"}},
		// Black-box tests know what a client knows.
		{"e2e", []string{"sdk/go", "libs/protocol"}},
		{"sdk/go", []string{"libs/protocol"}},
		{"cmd/*", []string{"libs/*", "services/*", "sdk/go"}},
		{"tools", nil},
	}
}

func matches(pattern, dir string) bool {
	parent, wild := strings.CutSuffix(pattern, "/*")
	if !wild {
		return pattern == dir
	}
	rest, below := strings.CutPrefix(dir, parent+"/")
	return below && !strings.Contains(rest, "/")
}

// mayImport says nothing, or why from may not import to; both are directories.
func mayImport(from, to string) string {
	if from == to {
		return ""
	}
	for _, rule := range importRules() {
		if !matches(rule.from, from) {
			continue
		}
		for _, pattern := range rule.to {
			if matches(pattern, to) {
				return ""
			}
		}
		if len(rule.to) == 0 {
			return fmt.Sprintf("%s may not import %s: it imports no sibling", from, to)
		}
		return fmt.Sprintf("%s may not import %s: only %s", from, to, strings.Join(rule.to, ", "))
	}
	return fmt.Sprintf("no import rule for %s: add one to tools/modcheck/imports.go", from)
}

// moduleOfImport returns the directory of the sibling module that an import path
// lies in; "" for other people's packages.
func (ws *workspace) moduleOfImport(path string) (dir string, sibling bool) {
	rest, ours := strings.CutPrefix(path, prefix)
	if !ours {
		return "", false
	}
	best := ""
	for _, m := range ws.modules {
		if (rest == m.dir || strings.HasPrefix(rest, m.dir+"/")) && len(m.dir) > len(best) {
			best = m.dir
		}
	}
	if best == "" {
		return rest, true
	}
	return best, true
}

// checkGoLines keeps one language version: with several, what compiles depends
// on whether the workspace is used.
func checkGoLines(ws *workspace) []violation {
	var all []violation
	for _, m := range ws.modules {
		file := m.dir + "/go.mod"
		switch {
		case m.mod.Go == nil:
			all = append(all, violation{path: file, text: "has no go line"})
		case m.mod.Go.Version != ws.goLine:
			all = append(all, violation{file, m.mod.Go.Syntax.Start.Line, fmt.Sprintf("go %s differs from go.work's %s", m.mod.Go.Version, ws.goLine)})
		}
		if m.mod.Toolchain != nil {
			all = append(all, violation{file, m.mod.Toolchain.Syntax.Start.Line, "has a toolchain line: the go line is enough"})
		}
		if m.path != prefix+m.dir {
			all = append(all, violation{file, m.mod.Module.Syntax.Start.Line, fmt.Sprintf("is module %s, want %s", m.path, prefix+m.dir)})
		}
	}
	return all
}

// checkRequires applies the import rules to go.mod files, where a forbidden
// sibling can hide as an unused requirement, and wants a replace for each
// sibling: without it the module builds in the workspace only.
func checkRequires(ws *workspace) []violation {
	var all []violation
	for _, m := range ws.modules {
		for _, req := range m.mod.Require {
			dir, sibling := ws.moduleOfImport(req.Mod.Path)
			if !sibling {
				continue
			}
			at := violation{path: m.dir + "/go.mod", line: req.Syntax.Start.Line}
			// An indirect requirement is a sibling's business, not this module's.
			if reason := mayImport(m.dir, dir); reason != "" && !req.Indirect {
				at.text = reason
				all = append(all, at)
			}
			if !replaces(m, req.Mod.Path) {
				at.text = "requires " + dir + " without a replace line to its directory"
				all = append(all, at)
			}
		}
	}
	return all
}

func replaces(m module, path string) bool {
	for _, r := range m.mod.Replace {
		if r.Old.Path == path && strings.HasPrefix(r.New.Path, "../") {
			return true
		}
	}
	return false
}

// importViolations checks the imports of one Go file.
func (ws *workspace) importViolations(file string, imports []importSpec) []violation {
	m := ws.moduleOf(file)
	if m == nil {
		return nil
	}
	var all []violation
	var reported []string
	for _, imp := range imports {
		dir, sibling := ws.moduleOfImport(imp.path)
		if !sibling || slices.Contains(reported, dir) {
			continue
		}
		if reason := mayImport(m.dir, dir); reason != "" {
			reported = append(reported, dir)
			all = append(all, violation{file, imp.line, reason})
		}
	}
	return all
}
