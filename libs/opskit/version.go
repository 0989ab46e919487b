package opskit

import (
	"runtime"
	"runtime/debug"
)

// Set by the linker for releases:
//
//	-ldflags "-X github.com/parley-rt/parley/libs/opskit.version=v1.2.3 -X ….commit=… -X ….date=…"
var version, commit, date string

// BuildInfo says what is running. Every field is filled in; what is not known
// is "unknown", and a build without a version is "dev".
type BuildInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Date     string `json:"date"` // of the commit, RFC 3339
	Modified bool   `json:"modified"`
	Go       string `json:"go"`
	Platform string `json:"platform"` // os/arch
}

// Version returns the build information set by the linker, completed by what Go
// recorded in the binary. A build with -buildvcs=false has no record; its commit
// and date are then "unknown" unless the linker set them.
func Version() BuildInfo {
	info, _ := debug.ReadBuildInfo()
	return buildInfo(version, commit, date, info)
}

func buildInfo(version, commit, date string, recorded *debug.BuildInfo) BuildInfo {
	b := BuildInfo{
		Version: version, Commit: commit, Date: date,
		Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if recorded != nil {
		b.complete(recorded)
	}
	b.Version = orElse(b.Version, "dev")
	b.Commit = orElse(b.Commit, "unknown")
	b.Date = orElse(b.Date, "unknown")
	return b
}

func (b *BuildInfo) complete(recorded *debug.BuildInfo) {
	if recorded.GoVersion != "" {
		b.Go = recorded.GoVersion
	}
	if v := recorded.Main.Version; v != "(devel)" {
		b.Version = orElse(b.Version, v)
	}
	for _, s := range recorded.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = orElse(b.Commit, s.Value)
		case "vcs.time":
			b.Date = orElse(b.Date, s.Value)
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
}

func orElse(s, other string) string {
	if s != "" {
		return s
	}
	return other
}
