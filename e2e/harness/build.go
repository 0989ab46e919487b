package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

const module = "github.com/parley-rt/parley/e2e"

// buildDirPrefix is followed by the pid of the test process that the directory belongs to.
const buildDirPrefix = "parley-e2e-"

var build = sync.OnceValues(func() (string, error) {
	if binary := os.Getenv("PARLEY_E2E_BINARY"); binary != "" {
		return filepath.Abs(binary)
	}
	return goBuild("cmd/parley", raceFlags()...)
})

func raceFlags() []string {
	if os.Getenv("PARLEY_E2E_RACE") != "" {
		return []string{"-race"}
	}
	return nil
}

// goBuild builds the command in a directory of the checkout and returns the binary's path.
func goBuild(directory string, flags ...string) (string, error) {
	return goBuildPackage(directory, ".", filepath.Base(directory), flags...)
}

// goBuildPackage builds a command that the module in a directory of the checkout knows, its own or another's.
func goBuildPackage(directory, pkg, name string, flags ...string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	dir, err := buildDir()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, strings.Join(append([]string{name}, flags...), ""))
	unlock, err := lock(binary + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(binary); err == nil && sharedDir() != "" {
		return binary, nil // by another test process of this run
	}
	cmd := exec.Command("go", append(append([]string{"build", "-o", binary}, flags...), pkg)...)
	cmd.Dir = filepath.Join(root, filepath.FromSlash(directory))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s in ./%s: %w\n%s", pkg, directory, err, out)
	}
	return binary, nil
}

// sharedDir is where the test processes of one run build each binary once; tools/test sets it. Empty: each builds its own.
func sharedDir() string { return os.Getenv("PARLEY_E2E_BUILDS") }

// lock waits until no other process has the file, which the end of this process gives back, too.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// buildDir is sharedDir, else this process's own; those of processes that are gone are removed when it is made.
var buildDir = sync.OnceValues(func() (string, error) {
	if dir := sharedDir(); dir != "" {
		return dir, nil
	}
	removeAbandoned()
	dir := filepath.Join(os.TempDir(), buildDirPrefix+strconv.Itoa(os.Getpid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make build directory: %w", err)
	}
	return dir, nil
})

// Build returns the path of the parley binary, built from this checkout at the first call. The file stays until a later
// test process finds its own gone.
func Build(tb testing.TB) string {
	tb.Helper()
	binary, err := build()
	if err != nil {
		tb.Fatal(err)
	}
	return binary
}

// Root returns the directory of the checkout that the tests belong to.
func Root() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("go list -m %s: %w", module, err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// removeAbandoned removes the builds of test processes that are gone. A process cannot remove its own: it may end in many
// ways, and other tests of it still run the binary.
func removeAbandoned() {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), buildDirPrefix+"*"))
	if err != nil {
		return // only for a malformed pattern
	}
	for _, dir := range dirs {
		pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(dir), buildDirPrefix))
		if err == nil && pid > 0 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = os.RemoveAll(dir) // another test process may be doing the same
		}
	}
}
