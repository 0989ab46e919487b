package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// debianDirs is where Debian puts the binaries of each major version, which are not on PATH.
const debianDirs = "/usr/lib/postgresql/*/bin"

// installCommand is what an error about a missing Postgres tells to do.
const installCommand = "apt-get install -y --no-install-recommends postgresql"

// install is how to run the programs of a Postgres installation.
type install struct {
	bin string
	// credential is nil when this process may run Postgres itself.
	credential *syscall.Credential
}

// findInstall looks for initdb and decides on the user.
func findInstall() (install, error) {
	bin, err := findBin(debianDirs)
	if err != nil {
		return install{}, err
	}
	if os.Geteuid() != 0 {
		return install{bin: bin}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(account.Uid, 10, 32)
		if err != nil {
			return install{}, fmt.Errorf("user %s: %w", name, err)
		}
		gid, err := strconv.ParseUint(account.Gid, 10, 32)
		if err != nil {
			return install{}, fmt.Errorf("user %s: %w", name, err)
		}
		return install{bin: bin, credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
	}
	return install{}, errors.New("postgres refuses to run as root, and there is neither a user postgres nor nobody")
}

// findBin returns the directory of the binaries on PATH, or else of the newest version in the directories that elsewhere matches.
func findBin(elsewhere string) (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return "", fmt.Errorf("find Postgres: %w", err)
		}
		return filepath.Dir(path), nil
	}
	found, err := filepath.Glob(filepath.Join(elsewhere, "initdb"))
	if err != nil {
		return "", fmt.Errorf("find Postgres: %w", err)
	}
	if len(found) == 0 {
		return "", fmt.Errorf("no Postgres is installed: found no initdb on PATH nor in %s. Install it: %s", elsewhere, installCommand)
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return major(a) - major(b) })), nil
}

// major is the version in a path like /usr/lib/postgresql/15/bin/initdb, 0 when it is none.
func major(initdb string) int {
	n, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(initdb))))
	if err != nil {
		return 0
	}
	return n
}

// command prepares a program with an environment of its own: PG… variables of this process must not steer it.
func (i install) command(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(i.bin, name), args...)
	cmd.Dir = dir // the current one may be closed to the other user
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: i.credential}
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// run runs a program to its end; what it printed is in the error.
func (i install) run(ctx context.Context, dir, name string, args ...string) error {
	out, err := i.command(ctx, dir, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", name, errors.Join(err, ctx.Err()), strings.TrimSpace(string(out)))
	}
	return nil
}

// own makes the directory, if need be, and gives it to the user who runs Postgres.
func (i install) own(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the cluster's directory: %w", err)
	}
	if i.credential == nil {
		return nil
	}
	if err := os.Chown(dir, int(i.credential.Uid), int(i.credential.Gid)); err != nil {
		return fmt.Errorf("give the cluster's directory to the user who runs Postgres: %w", err)
	}
	return nil
}
