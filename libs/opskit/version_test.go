package opskit

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBuildInfoSources(t *testing.T) {
	t.Parallel()
	recorded := &debug.BuildInfo{
		GoVersion: "go1.99", Main: debug.Module{Version: "v0.3.0"},
		Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}, {Key: "vcs.modified", Value: "true"}},
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH

	require.Equal(t, BuildInfo{"v0.3.0", "abc", "2026-01-02T03:04:05Z", true, "go1.99", platform}, buildInfo("", "", "", recorded))
	require.Equal(t, BuildInfo{"v1.0.0", "def", "today", true, "go1.99", platform}, buildInfo("v1.0.0", "def", "today", recorded), "the linker's word counts")
	require.Equal(t, BuildInfo{"dev", "unknown", "unknown", false, runtime.Version(), platform}, buildInfo("", "", "", nil))
	require.Equal(t, "dev", buildInfo("", "", "", &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}).Version)
}

// A real binary, because the linker's flags name these variables by a string
// that no compiler checks.
func TestLinkerSetsTheVersion(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "printversion")
	const pkg = "github.com/parley-rt/parley/libs/opskit"
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", binary,
		"-ldflags", "-X "+pkg+".version=v9.8.7 -X "+pkg+".commit=cafe -X "+pkg+".date=2026-01-02T03:04:05Z", "./testdata/printversion")
	build.Env = os.Environ()
	output, err := build.CombinedOutput()
	require.NoError(t, err, string(output))

	output, err = exec.CommandContext(t.Context(), binary).Output()
	require.NoError(t, err)
	var info BuildInfo
	require.NoError(t, json.Unmarshal(output, &info))
	require.Equal(t, BuildInfo{"v9.8.7", "cafe", "2026-01-02T03:04:05Z", false, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}, info)
}
