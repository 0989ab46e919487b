//go:build !linux

package lite

// fileSystem: connections use the default one.
func fileSystem() uintptr { return 0 }
