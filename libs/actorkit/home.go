package actorkit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
)

// startMu serialises the starts of systems with remoting: GoAkt and its cluster engine keep a start's progress in variables of
// their packages, and we may redirect the process's home directory. So two nodes of one process cannot wait for each other.
var startMu sync.Mutex

// startAlone runs f, the start of a system, alone in the process.
func startAlone(f func() error) error {
	startMu.Lock()
	defer startMu.Unlock()
	return f()
}

// spoilt is set when the start of a clustered system has failed in this process: the cluster engine counts what has begun and
// what has finished over all systems of a process, and finishes no start while the two differ.
var spoilt atomic.Bool

// errSpoilt is the error of every further start.
var errSpoilt = errors.New("an earlier start in this process failed, after which GoAkt's cluster engine finishes no other: start a new process")

// setHome makes dir the user's home directory until restore is called, once or more; nothing when it is empty. GoAkt derives the
// place of its files from the home directory and offers no option; it does so before it looks for peers. startMu must be held.
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
	return sync.OnceFunc(func() {
		if had {
			_ = os.Setenv(name, old)
		} else {
			_ = os.Unsetenv(name)
		}
	}), nil
}

func (c NodeConfig) goaktDir() string {
	if c.DataDir == "" {
		return ""
	}
	return filepath.Join(c.DataDir, "goakt", c.System+"-"+encodeName(c.Node))
}
