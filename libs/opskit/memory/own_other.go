//go:build !linux

package memory

import (
	"io/fs"
	"runtime/metrics"
)

// systemFiles has no control groups.
func systemFiles() fs.FS { return emptyFS{} }

// own is what the Go runtime has mapped and not given back.
func own() (int64, error) {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64()), nil
}

func machine() (int64, error) { return 0, ErrUnknown }

type emptyFS struct{}

func (emptyFS) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}
