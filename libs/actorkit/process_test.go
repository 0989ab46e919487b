package actorkit_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
)

// processConfig is a node in a process of its own: this test binary, run again.
type processConfig struct {
	System, Node, Host, Dir string
	Port                    int // for discovery
	Seeds                   []string
	Quorum                  int
}

// processVariable holds the configuration.
const processVariable = "ACTORKIT_TEST_NODE"

// runProcess is the process's main function. It says on its standard output what happens, and ends with its standard input.
func runProcess(text string) error {
	var c processConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	handler := new(actorkittest.Recorder)
	handler.OnFrame(func(f actorkittest.Received) { fmt.Println("frame:", string(f.Frame.Body)) })
	node, err := actorkit.StartNode(ctx, actorkit.NodeConfig{
		System: c.System, Node: c.Node, Host: c.Host, DiscoveryPort: c.Port, Seeds: c.Seeds, Quorum: c.Quorum, DataDir: c.Dir,
		Waiting: func(err error) {
			if err == nil {
				fmt.Println("waiting: over")
			} else {
				fmt.Println("waiting:", err)
			}
		},
	}, handler)
	if err != nil {
		fmt.Println("not started:", err)
		return nil
	}
	self := node.Self()
	fmt.Println("self:", self.RemotingPort, self.Incarnation)
	var said []string
	for ctx.Err() == nil {
		members, err := node.Members(ctx)
		if err == nil && !slices.Equal(said, members) {
			said = members
			fmt.Println("members:", strings.Join(members, " "))
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	stop, done := context.WithTimeout(context.Background(), actorkittest.Patience)
	defer done()
	return node.Stop(stop)
}

type process struct {
	pid   int
	in    io.WriteCloser
	lines chan string
	// Known once its members have been expected.
	remoting    int
	incarnation string
}

// startProcess runs a node until the test ends.
func startProcess(t *testing.T, c processConfig) *process {
	return startChild(t, c.Node, processVariable, c)
}

// startChild runs this binary with a configuration in an environment variable until the test ends.
func startChild(t *testing.T, name, variable string, config any) *process {
	t.Helper()
	text, err := json.Marshal(config)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), variable+"="+string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p := &process{pid: cmd.Process.Pid, in: in, lines: make(chan string, 1000)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(p.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.lines <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		p.stop()
		<-read
		if err := cmd.Wait(); err != nil && err.Error() != "signal: killed" {
			t.Errorf("%s: %v", name, err)
		}
	})
	return p
}

// stop asks the process to end, which also the end of this one does.
func (p *process) stop() { _ = p.in.Close() }

// expect reads on until a line begins so.
func (p *process) expect(t *testing.T, prefix string) {
	t.Helper()
	deadline := time.After(actorkittest.Patience)
	var seen []string
	for {
		select {
		case line, ok := <-p.lines:
			require.True(t, ok, "%q was not said, but %q", prefix, seen)
			_, _ = fmt.Sscanf(line, "self: %d %s", &p.remoting, &p.incarnation) // most lines are others
			if strings.HasPrefix(line, prefix) {
				return
			}
			seen = append(seen, line)
		case <-deadline:
			require.Fail(t, "not said in time", "%q, but %q", prefix, seen)
		}
	}
}

// A node that waits for its peers gives up when it is told to.
func TestStartCanBeGivenUpWhileItWaits(t *testing.T) {
	t.Parallel()
	p := startProcess(t, processConfig{System: "lonely", Node: "lonely", Host: hosts[0], Port: samePort(t), Quorum: 2, Dir: t.TempDir()})
	p.expect(t, "waiting: 1 of the 2 nodes")
	p.stop()
	p.expect(t, "not started: start node lonely: context canceled")
}
