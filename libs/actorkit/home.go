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

// beginStart gives the caller the start of a system for itself, with the user's home directory being dir unless that is empty,
// until the function it returns is called, once or more. GoAkt derives the place of its files from the home directory and
// offers no option; it does so before it looks for peers.
func beginStart(dir string) (done func(), err error) {
	startMu.Lock()
	restore, err := setHome(dir)
	if err != nil {
		startMu.Unlock()
		return nil, err
	}
	return sync.OnceFunc(func() {
		restore()
		startMu.Unlock()
	}), nil
}

func setHome(dir string) (restore func(), err error) {
	if dir == "" {
		return func() {}, nil
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	// What an earlier life left behind is of no use: GoAkt opens a new file per start and deletes it on a clean stop.
	if err := os.RemoveAll(filepath.Join(dir, ".goakt")); err != nil {
		return nil, fmt.Errorf("clear goakt's files: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make goakt's directory: %w", err)
	}
	name := "HOME"
	if runtime.GOOS == "windows" {
		name = "USERPROFILE"
	}
	old, had := os.LookupEnv(name)
	if err := os.Setenv(name, dir); err != nil {
		return nil, err
	}
	return func() {
		if had {
			_ = os.Setenv(name, old)
		} else {
			_ = os.Unsetenv(name)
		}
	}, nil
}

func (c NodeConfig) goaktDir() string {
	if c.DataDir == "" {
		return ""
	}
	return filepath.Join(c.DataDir, "goakt", c.System+"-"+encodeName(c.Node))
}
