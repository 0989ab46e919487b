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
	"syscall"
	"testing"
	"time"

	"github.com/parley-rt/parley/e2e/network"
)

// clusterTimeout is for a machine that is busy building at the same time.
const clusterTimeout = 2 * time.Minute

// Cluster is a Postgres server of one test's own, with its successors on the same data and port. What it was told to do is
// done when a method returns; the test fails when it cannot be. Its methods are for one goroutine at a time.
type Cluster struct {
	command *clusterCommand
	fatal   func(error)
}

// StartCluster starts an empty cluster, which is ended with the test. Its URL is for StartDev:
//
//	cluster := harness.StartCluster(t)
//	server := harness.StartDev(t, "--journal", cluster.URL())
func StartCluster(tb testing.TB) *Cluster {
	tb.Helper()
	return StartClusterOn(tb, nil)
}

// StartClusterOn is StartCluster on a host of its own.
func StartClusterOn(tb testing.TB, host *network.Host) *Cluster {
	tb.Helper()
	command, err := startClusterOn(place{host: host})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := command.end(); err != nil {
			tb.Error(err)
		}
	})
	return &Cluster{command: command, fatal: func(err error) {
		tb.Helper()
		tb.Fatal(err)
	}}
}

// URL survives Start.
func (c *Cluster) URL() string { return c.command.url }

// Kill9 ends all processes of the server at once, without any notice.
func (c *Cluster) Kill9() { c.tell("kill") }

// Start starts the server after Kill9 and returns when it accepts connections, after crash recovery.
func (c *Cluster) Start() { c.tell("start") }

// Pause stops all processes of the server as a hung machine would: connections stay open, nobody answers.
func (c *Cluster) Pause() { c.tell("pause") }

// Resume ends Pause.
func (c *Cluster) Resume() { c.tell("resume") }

func (c *Cluster) tell(what string) {
	if err := c.command.tell(what); err != nil {
		c.fatal(err)
	}
}

// clusterCommand is a running pgtest. Tests of the binary know as much about the database as an operator does: how to start
// and how to end one, and its URL.
type clusterCommand struct {
	cmd *exec.Cmd
	// in is held until this process ends, in whatever way: then the command's standard input ends, and its cluster with it.
	in      io.WriteCloser
	out     *bufio.Reader
	logPath string
	url     string
}

// buildCluster builds the command once: one that runs is in the way of another build.
var buildCluster = sync.OnceValues(func() (string, error) {
	return goBuild("libs/persistence/persistencetest/pgtest/cmd/pgtest")
})

func startCluster() (*clusterCommand, error) { return startClusterOn(place{}) }

func startClusterOn(where place) (*clusterCommand, error) {
	binary, err := buildCluster()
	if err != nil {
		return nil, err
	}
	log, err := os.CreateTemp(filepath.Dir(binary), "pgtest-*.log")
	if err != nil {
		return nil, fmt.Errorf("open the Postgres cluster's log: %w", err)
	}
	defer func() { _ = log.Close() }() // the command has its own
	c := &clusterCommand{cmd: where.command(binary), logPath: log.Name()}
	if where.host != nil {
		c.cmd.Args = append(c.cmd.Args, "-host", where.ip())
	}
	c.cmd.Stderr = log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is for this process, which it then follows
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a Postgres cluster: %w", err)
	}
	if c.url, err = c.line(); err != nil {
		return nil, fmt.Errorf("start a Postgres cluster: %w\n%s", errors.Join(err, c.end()), tail(c.logPath, shownLines))
	}
	return c, nil
}

// line reads a line of output. A command that takes too long loses its input, and so ends.
func (c *clusterCommand) line() (string, error) {
	timer := time.AfterFunc(clusterTimeout, func() { _ = c.in.Close() })
	defer timer.Stop()
	text, err := c.out.ReadString('\n')
	return strings.TrimSpace(text), err
}

// tell has the cluster do something and waits until it has.
func (c *clusterCommand) tell(what string) error {
	if _, err := fmt.Fprintln(c.in, what); err != nil {
		return fmt.Errorf("tell the Postgres cluster to %s: %w\n%s", what, err, tail(c.logPath, shownLines))
	}
	answer, err := c.line()
	if err != nil {
		return fmt.Errorf("tell the Postgres cluster to %s: %w\n%s", what, err, tail(c.logPath, shownLines))
	}
	if answer != "ok" {
		return fmt.Errorf("tell the Postgres cluster to %s: %s", what, answer)
	}
	return nil
}

func (c *clusterCommand) end() error {
	_ = c.in.Close() // it may have been closed for taking too long
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("end the Postgres cluster: %w\n%s", err, tail(c.logPath, shownLines))
	}
	return nil
}
