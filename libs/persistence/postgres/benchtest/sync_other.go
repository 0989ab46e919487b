//go:build !linux

package benchtest

import "os"

func datasync(file *os.File) error { return file.Sync() }
