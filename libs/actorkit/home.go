package actorkit

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
)

// startMu serialises the starts of systems with remoting: GoAkt writes a package variable when it listens, and we may
// redirect the process's home directory.
var startMu sync.Mutex

// startAlone runs f, the start of a system, alone in the process.
func startAlone(f func() error) error {
	startMu.Lock()
	defer startMu.Unlock()
	return f()
}

// withHome runs f with the user's home directory being dir. GoAkt derives the place of its files from it and offers no
// option; it does so only while a system starts. startMu must be held.
func withHome(dir string, f func() error) error {
	if dir == "" {
		return f()
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	// What an earlier life left behind is of no use: GoAkt opens a new file per start and deletes it on a clean stop.
	if err := os.RemoveAll(filepath.Join(dir, ".goakt")); err != nil {
		return fmt.Errorf("clear goakt's files: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make goakt's directory: %w", err)
	}
	name := "HOME"
	if runtime.GOOS == "windows" {
		name = "USERPROFILE"
	}
	old, had := os.LookupEnv(name)
	if err := os.Setenv(name, dir); err != nil {
		return err
	}
	defer func() {
		if had {
			_ = os.Setenv(name, old)
		} else {
			_ = os.Unsetenv(name)
		}
	}()
	return f()
}

func (c NodeConfig) goaktDir() string {
	if c.DataDir == "" {
		return ""
	}
	return filepath.Join(c.DataDir, "goakt", c.System+"-"+encodeName(c.Node))
}
