package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// fixture is a small workspace in which every rule is kept.
func fixture() map[string]string {
	return map[string]string{
		"go.work":                   "go 1.26.0\n\nuse (\n\t./libs/actorkit\n\t./libs/persistence\n\t./services/gateway\n\t./services/rooms\n\t./e2e\n\t./sdk/go\n)\n",
		"libs/persistence/go.mod":   "module " + prefix + "libs/persistence\n\ngo 1.26.0\n",
		"libs/persistence/p.go":     "// Package persistence is a fixture.\npackage persistence\n",
		"libs/actorkit/go.mod":      goMod("libs/actorkit", "libs/persistence"),
		"libs/actorkit/a.go":        "package actorkit\n\nimport _ \"" + prefix + "libs/persistence\"\n",
		"services/gateway/go.mod":   goMod("services/gateway", "libs/actorkit") + indirect("libs/persistence"),
		"services/gateway/g.go":     "package gateway\n\nimport _ \"" + prefix + "libs/actorkit\"\n",
		"services/rooms/go.mod":     goMod("services/rooms"),
		"services/rooms/r.go":       "package rooms\n",
		"services/rooms/r_test.go":  "package rooms\n",
		"sdk/go/go.mod":             goMod("sdk/go"),
		"sdk/go/client.go":          "package parley\n",
		"e2e/go.mod":                goMod("e2e", "sdk/go"),
		"e2e/e2e.go":                "package e2e\n\nimport _ \"" + prefix + "sdk/go\"\n",
		"docs/network/home/page.md": "See https://example.com/network/home/x/ and ${HOME}/home/x/.\n",
	}
}

func goMod(dir string, requires ...string) string {
	var b strings.Builder
	b.WriteString("module " + prefix + dir + "\n\ngo 1.26.0\n")
	up := strings.Repeat("../", strings.Count(dir, "/")+1)
	for _, r := range requires {
		b.WriteString("\nrequire " + prefix + r + " v0.0.0\n\nreplace " + prefix + r + " => " + up + r + "\n")
	}
	return b.String()
}

// indirect is what tidy writes for a sibling's sibling.
func indirect(dir string) string {
	return "\nrequire " + prefix + dir + " v0.0.0 // indirect\n\nreplace " + prefix + dir + " => ../../" + dir + "\n"
}

// write puts files, with changes applied, into a directory and returns it.
func write(t *testing.T, files, changes map[string]string) (string, []string) {
	t.Helper()
	root := t.TempDir()
	var names []string
	for _, set := range []map[string]string{files, changes} {
		for name, content := range set {
			path := filepath.Join(root, filepath.FromSlash(name))
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		}
	}
	require.NoError(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(root, path)
			names = append(names, filepath.ToSlash(rel))
		}
		return err
	}))
	sort.Strings(names)
	return root, names
}

// staticViolations runs the rules that read files.
func staticViolations(t *testing.T, changes map[string]string) []string {
	t.Helper()
	root, names := write(t, fixture(), changes)
	ws, err := readWorkspace(root, names)
	require.NoError(t, err)
	all := append(checkGoLines(ws), checkRequires(ws)...)
	fromFiles, err := checkFiles(ws)
	require.NoError(t, err)
	var texts []string
	for _, v := range append(all, fromFiles...) {
		texts = append(texts, v.String())
	}
	return texts
}

func TestStaticRules(t *testing.T) {
	t.Parallel()
	require.Empty(t, staticViolations(t, nil), "the fixture keeps every rule")

	testFile := func(body string) string {
		return "package rooms\n\nimport (\n\t\"testing\"\n\t\"time\"\n)\n\nfunc TestX(t *testing.T) {\n\t" + body + "\n\ttime.Now()\n}\n"
	}
	imports := func(pkg, path string) string { return "package " + pkg + "\n\nimport _ \"" + prefix + path + "\"\n" }
	long := "package rooms\n" + strings.Repeat("// line\n", maxLines)

	for name, tc := range map[string]struct {
		changes map[string]string
		want    []string
	}{
		"leaf imports a sibling": {
			map[string]string{"libs/persistence/p.go": imports("persistence", "libs/actorkit")},
			[]string{"libs/persistence/p.go:3: libs/persistence may not import libs/actorkit: it imports no sibling"},
		},
		"service imports a service, in a test": {
			map[string]string{"services/rooms/r_test.go": imports("rooms", "services/gateway")},
			[]string{"services/rooms/r_test.go:3: services/rooms may not import services/gateway: only libs/*"},
		},
		"e2e imports a service": {
			map[string]string{"e2e/e2e.go": imports("e2e", "services/gateway/internal/ws")},
			[]string{"e2e/e2e.go:3: e2e may not import services/gateway: only sdk/go, libs/protocol"},
		},
		"sibling that is no module": {
			map[string]string{"e2e/e2e.go": imports("e2e", "libs/nowhere")},
			[]string{"e2e/e2e.go:3: e2e may not import libs/nowhere: only sdk/go, libs/protocol"},
		},
		"forbidden requirement": {
			map[string]string{"services/rooms/go.mod": goMod("services/rooms", "services/gateway")},
			[]string{"services/rooms/go.mod:5: services/rooms may not import services/gateway: only libs/*"},
		},
		"no replace": {
			map[string]string{"e2e/go.mod": "module " + prefix + "e2e\n\ngo 1.26.0\n\nrequire " + prefix + "sdk/go v0.0.0\n"},
			[]string{"e2e/go.mod:5: requires sdk/go without a replace line to its directory"},
		},
		"module without a rule": {
			map[string]string{
				"go.work": "go 1.26.0\n\nuse ./extra\n", "extra/go.mod": goMod("extra"), "extra/x.go": imports("extra", "libs/persistence"),
			},
			[]string{"extra/x.go:3: no import rule for extra: add one to tools/modcheck/imports.go"},
		},
		"go lines differ": {
			map[string]string{"sdk/go/go.mod": "module " + prefix + "sdk/go\n\ngo 1.25.0\n\ntoolchain go1.26.1\n"},
			[]string{"sdk/go/go.mod:3: go 1.25.0 differs from go.work's 1.26.0", "sdk/go/go.mod:5: has a toolchain line: the go line is enough"},
		},
		"go line missing": {
			map[string]string{"sdk/go/go.mod": "module " + prefix + "sdk/go\n"},
			[]string{"sdk/go/go.mod: has no go line"},
		},
		"wrong module path": {
			map[string]string{"sdk/go/go.mod": "module example.com/sdk\n\ngo 1.26.0\n"},
			[]string{"sdk/go/go.mod:1: is module example.com/sdk, want " + prefix + "sdk/go"},
		},
		"long file": {
			map[string]string{"services/rooms/r.go": long},
			[]string{"services/rooms/r.go: has 501 lines, more than 500: split it by concept"},
		},
		"long generated file": {
			map[string]string{"services/rooms/r.go": "// Code generated by x. DO NOT EDIT.\n" + long}, nil,
		},
		"skips": {
			map[string]string{"services/rooms/r_test.go": testFile("t.Skip(\"no database\")")},
			[]string{"services/rooms/r_test.go:9: skips: a test runs, or fails and says what is missing"},
		},
		"skips in a helper package": {
			map[string]string{"services/rooms/r.go": "package rooms\n\nfunc f(b interface{ SkipNow() }) {\n\tb.SkipNow()\n}\n"},
			[]string{"services/rooms/r.go:4: skips: a test runs, or fails and says what is missing"},
		},
		"discards a generated case": {
			map[string]string{"services/rooms/r.go": "package rooms\n\nfunc f(t *rapid.T) {\n\tgo func(x int) { t.Skip() }(1)\n}\n"}, nil,
		},
		"skips within a generator": {
			map[string]string{"services/rooms/r.go": "package rooms\n\nfunc f(t *rapid.T) {\n\tgo func(t *testing.T) { t.Skip() }(nil)\n}\n"},
			[]string{"services/rooms/r.go:4: skips: a test runs, or fails and says what is missing"},
		},
		"skips only in words": {
			map[string]string{"services/rooms/r_test.go": testFile("_ = \"t.Skip(\" // t.Skip(")}, nil,
		},
		"sleeps": {
			map[string]string{"services/rooms/r_test.go": testFile("time.Sleep(time.Second)")},
			[]string{"services/rooms/r_test.go:9: sleeps: wait for a signal, or use testing/synctest"},
		},
		"sleeps under another name": {
			map[string]string{"services/rooms/r_test.go": "package rooms\n\nimport clock \"time\"\n\nfunc f() { clock.Sleep(1) }\n"},
			[]string{"services/rooms/r_test.go:5: sleeps: wait for a signal, or use testing/synctest"},
		},
		"sleeps outside tests": {
			map[string]string{"services/rooms/r.go": "package rooms\n\nimport \"time\"\n\nfunc f() { time.Sleep(1) }\n"}, nil,
		},
		"sleeps of something else": {
			map[string]string{"services/rooms/r_test.go": "package rooms\n\nfunc f(time interface{ Sleep(int) }) { time.Sleep(1) }\n"}, nil,
		},
		"forbidden mentions": {
			map[string]string{"docs/page.md": strings.Join([]string{
				"cd /ho" + "me/ada/parley", "export GOPR" + "OXY=direct", "for issue" + " 12", "// TO" + "DO: more",
				"fine: TODOS, mktemp XXXXXX, docs/home/page/",
			}, "\n") + "\n"},
			[]string{
				"docs/page.md:1: \"/ho" + "me/ada/\": names an absolute path of one machine",
				"docs/page.md:2: \"GOPR" + "OXY=\": chooses a module proxy: that is the environment's choice",
				"docs/page.md:3: \"issue" + " 12\": cites an issue number: say what matters instead",
				"docs/page.md:4: \"TO" + "DO\": marks work as unfinished: finish it or open an issue",
			},
		},
		"binary files and sums are not text": {
			map[string]string{"docs/x.png": "\x00 /ho" + "me/ada/", "e2e/go.sum": "TO" + "DO h1:/ho" + "me/ada/\n"}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.ElementsMatch(t, tc.want, staticViolations(t, tc.changes))
		})
	}
}

func TestEveryModuleOfTheDesignHasItsPlace(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]string{
		{"services/gateway", "libs/actorkit"}, {"services/rooms", "libs/dcplane"}, {"services/scheduler", "libs/ratelimit"}, {"libs/actorkit", "libs/persistence"},
		{"cmd/parley", "services/rooms"}, {"cmd/parley", "sdk/go"}, {"e2e", "libs/protocol"}, {"sdk/go", "libs/protocol"}, {"tools", "tools"},
	} {
		require.Empty(t, mayImport(pair[0], pair[1]), "%v", pair)
	}
	for _, pair := range [][2]string{
		{"services/gateway", "services/rooms"}, {"libs/protocol", "libs/opskit"}, {"libs/opskit", "libs/protocol"}, {"libs/dcplane", "libs/persistence"},
		{"libs/ratelimit", "libs/opskit"}, {"libs/actorkit", "libs/opskit"}, {"sdk/go", "libs/opskit"}, {"e2e", "cmd/parley"}, {"e2e", "libs/opskit"},
		{"libs/actorkit", "services/rooms"}, {"services/rooms", "cmd/parley"}, {"services/rooms", "sdk/go"}, {"tools", "libs/opskit"}, {"new/thing", "libs/opskit"},
	} {
		require.NotEmpty(t, mayImport(pair[0], pair[1]), "%v", pair)
	}
}

// The whole program on a real git repository and the real go command.
func TestCheckBuildsEachModuleAlone(t *testing.T) {
	t.Parallel()
	root, _ := write(t, fixture(), map[string]string{
		".gitignore":              "ignored/\n",
		"ignored/x.md":            "TO" + "DO\n",
		"services/rooms/r.go":     "package rooms\n\nvar x int = \"no number\"\n",
		"e2e/vet_test.go":         "package e2e\n\nimport \"fmt\"\n\nfunc f() { fmt.Printf(\"%d\", \"vet\") }\n",
		"libs/persistence/go.mod": goMod("libs/persistence") + "\nrequire golang.org/x/mod v0.42.0\n",
	})
	addAll(t, root)
	require.NoError(t, os.Remove(filepath.Join(root, "docs/network/home/page.md")), "a deleted file is still in the index")

	var log bytes.Buffer
	violations, err := check(t.Context(), filepath.Join(root, "services"), false, 2, &log)
	require.NoError(t, err)
	var got []string
	for _, v := range violations {
		first, _, _ := strings.Cut(v.String(), "\n")
		got = append(got, first)
	}
	require.Equal(t, []string{
		"e2e: GOWORK=off go vet ./...: exit status 1",
		"libs/persistence: GOWORK=off go mod tidy -diff: exit status 1",
		"services/rooms: GOWORK=off go build -o /dev/null ./...: exit status 1",
		"services/rooms: GOWORK=off go vet ./...: exit status 1",
	}, got)
	require.Regexp(t, `modcheck: libs/actorkit +alone`, log.String())
}

// addAll makes a directory a checkout.
func addAll(t *testing.T, root string) {
	t.Helper()
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}} {
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = root
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
}

// A command that has a package for tests in it, or crash points, is not shipped; one for tests may have both.
func TestCheckLooksIntoReleases(t *testing.T) {
	t.Parallel()
	command := "package main\n\nimport _ \"" + prefix + "libs/persistence/persistencetest\"\n\nfunc main() { println(\"" + failpointsMarker + "\") }\n"
	root, _ := write(t, fixture(), map[string]string{
		"libs/persistence/persistencetest/p.go": "// Package persistencetest is a fixture.\npackage persistencetest\n",
		"services/rooms/go.mod":                 goMod("services/rooms", "libs/persistence"),
		"services/rooms/cmd/rooms/main.go":      command,
		"services/rooms/cmd/clean/main.go":      "package main\n\nfunc main() {}\n",
		"services/rooms/roomstest/main.go":      command,
	})
	addAll(t, root)
	ws, err := openWorkspace(t.Context(), root)
	require.NoError(t, err)
	var got []string
	for _, v := range checkReleases(t.Context(), ws) {
		got = append(got, v.String())
	}
	require.Equal(t, []string{
		"services/rooms/cmd/rooms: has libs/persistence/persistencetest in it, which is for tests",
		"services/rooms/cmd/rooms: is built with crash points: without the tag failpoints it would have none",
	}, got)
}

func TestCheckNeedsAWorkspace(t *testing.T) {
	t.Parallel()
	_, err := check(t.Context(), t.TempDir(), true, 1, &bytes.Buffer{})
	require.ErrorContains(t, err, "no go.work in this directory or above")
}

func TestUnreadableInputsAreErrors(t *testing.T) {
	t.Parallel()
	root, names := write(t, fixture(), map[string]string{"services/rooms/r.go": "pakage rooms\n"})
	ws, err := readWorkspace(root, names)
	require.NoError(t, err)
	_, err = checkFiles(ws)
	require.ErrorContains(t, err, "check services/rooms/r.go: parse: ")

	for name, content := range map[string]string{"go.work": "use (", "e2e/go.mod": "modul x\n", "sdk/go/go.mod": "go 1.26.0\n"} {
		root, names = write(t, fixture(), map[string]string{name: content})
		_, err = readWorkspace(root, names)
		require.Error(t, err, name)
	}
}
