package harness

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Journal is a kind of store that a server keeps its events in.
type Journal string

// The journals. Whatever a server promises, it promises on each of them.
const (
	// SQLite is a file in the server's data directory.
	SQLite Journal = "sqlite"
	// Postgres is a schema in a cluster that this test process has for itself.
	Postgres Journal = "postgres"
)

// Journals are all there are, for tests that run on each.
func Journals() []Journal { return []Journal{SQLite, Postgres} }

var schemas atomic.Int64

// arguments make a server keep its events in an empty journal of this kind.
func (j Journal) arguments() ([]string, error) {
	switch j {
	case SQLite:
		return nil, nil
	case Postgres:
		url, err := cluster()
		if err != nil {
			return nil, err
		}
		return []string{"--journal", fmt.Sprintf("%s&search_path=server_%d", url, schemas.Add(1))}, nil
	default:
		return nil, fmt.Errorf("unknown journal %q", j)
	}
}

// clusterTimeout is for a machine that is busy building at the same time.
const clusterTimeout = 2 * time.Minute

// clusterInput is held until this process ends, in whatever way: then the cluster's standard input ends, and it with it.
var clusterInput io.WriteCloser

// cluster starts a private Postgres with the first call and returns its URL. Tests of the binary know as much about the
// database as an operator does: how to start one, and its URL.
var cluster = sync.OnceValues(func() (string, error) {
	binary, err := goBuild("libs/persistence/persistencetest/pgtest/cmd/pgtest")
	if err != nil {
		return "", err
	}
	log, err := os.Create(filepath.Join(filepath.Dir(binary), "pgtest.log"))
	if err != nil {
		return "", fmt.Errorf("open the Postgres cluster's log: %w", err)
	}
	defer func() { _ = log.Close() }() // the command has its own
	cmd := exec.Command(binary)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is for this process, which it then follows
	if clusterInput, err = cmd.StdinPipe(); err != nil {
		return "", fmt.Errorf("pipe: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", fmt.Errorf("pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("start a Postgres cluster: %w", err)
	}
	timer := time.AfterFunc(clusterTimeout, func() { _ = clusterInput.Close() })
	defer timer.Stop()
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("start a Postgres cluster: %w\n%s", errors.Join(err, cmd.Wait()), tail(log.Name(), shownLines))
	}
	return strings.TrimSpace(url), nil
})
