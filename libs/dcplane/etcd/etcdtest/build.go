package etcdtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// Binary returns the path of the etcd server, which is built at the first call on a machine; that takes a minute.
var Binary = sync.OnceValues(func() (string, error) {
	if binary := os.Getenv("PARLEY_TEST_ETCD"); binary != "" {
		return filepath.Abs(binary)
	}
	dir, err := module()
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "tool", "-n", "go.etcd.io/etcd/server/v3")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("build etcd: go tool -n go.etcd.io/etcd/server/v3 in %s: %w\n%s", dir, err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
})

// module finds tools/etcd above the package whose tests run.
func module() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find tools/etcd: %w", err)
	}
	for {
		found := filepath.Join(dir, "tools", "etcd")
		if _, err := os.Stat(filepath.Join(found, "go.mod")); err == nil {
			return found, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find tools/etcd: it is not above this directory; PARLEY_TEST_ETCD may name an etcd binary instead")
		}
		dir = parent
	}
}
