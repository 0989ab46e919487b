package network

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain lets the test binary play a server on a host.
func TestMain(m *testing.M) {
	if address := os.Getenv("NETWORK_TEST_ECHO"); address != "" {
		echo(address)
	}
	os.Exit(m.Run())
}

// echo answers every line with itself until its input ends.
func echo(address string) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		panic(err)
	}
	_, _ = os.Stdout.WriteString("listens\n")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				panic(err)
			}
			go func() {
				for lines := bufio.NewScanner(c); lines.Scan(); {
					_, _ = c.Write(append(lines.Bytes(), '\n'))
				}
			}()
		}
	}()
	_, _ = os.Stdin.Read(make([]byte, 1))
	os.Exit(0)
}

const port = "7"

// start runs an echo server on a host and returns a connection to it from here.
func start(t *testing.T, h *Host) net.Conn {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "NETWORK_TEST_ECHO="+net.JoinHostPort(h.IP(), port))
	h.Run(cmd)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, in.Close())
		require.NoError(t, cmd.Wait())
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "listens\n", line)
	return dial(t, h)
}

func dial(t *testing.T, h *Host) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", net.JoinHostPort(h.IP(), port), 10*time.Second)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// lines numbers what is asked, so that a late answer is not taken for that to the next question.
var lines atomic.Int64

// answers says whether a line comes back.
func answers(t *testing.T, c net.Conn, within time.Duration) error {
	t.Helper()
	require.NoError(t, c.SetDeadline(time.Now().Add(within)))
	line := fmt.Sprintf("%016d\n", lines.Add(1))
	if _, err := io.WriteString(c, line); err != nil {
		return err
	}
	for answer := make([]byte, len(line)); ; {
		if _, err := io.ReadFull(c, answer); err != nil || string(answer) == line {
			return err
		}
	}
}

func TestHostsAreCutAndHealed(t *testing.T) {
	t.Parallel()
	n, err := New()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	a, err := n.Host("a")
	require.NoError(t, err)
	c := start(t, a)
	require.NoError(t, answers(t, c, 10*time.Second))

	for _, cut := range []Cut{{From: n.Outside(), To: a}, {From: a, To: n.Outside()}} {
		heal, err := n.Cut(cut)
		require.NoError(t, err)
		require.ErrorIs(t, answers(t, c, 300*time.Millisecond), os.ErrDeadlineExceeded, cut)
		require.NoError(t, heal())
		require.NoError(t, answers(t, c, 30*time.Second), cut)
		require.Error(t, heal(), "only once")
	}

	b, err := n.Host("b")
	require.NoError(t, err)
	require.NotEqual(t, a.IP(), b.IP())
	_ = start(t, b)
	probe := func() error {
		cmd := exec.Command("bash", "-c", "echo > /dev/tcp/"+b.IP()+"/"+port)
		a.Run(cmd)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return errors.New(string(out))
		}
		return nil
	}
	require.NoError(t, probe(), "hosts reach each other")
	heal, err := n.Cut(Cut{From: a, To: b, Refuse: true})
	require.NoError(t, err)
	require.ErrorContains(t, probe(), "refused")
	require.NoError(t, answers(t, dial(t, b), 10*time.Second), "others are not concerned")
	require.NoError(t, heal())
	require.NoError(t, probe())

	_, err = n.Cut(Cut{From: n.Outside(), To: a, Refuse: true})
	require.Error(t, err, "the firewall of the machine is not ours")
}

func TestPacketsAreLostByChance(t *testing.T) {
	t.Parallel()
	n, err := New()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	h, err := n.Host("a")
	require.NoError(t, err)
	c := start(t, h)
	heal, err := n.Lose(h, 1)
	require.NoError(t, err)
	require.ErrorIs(t, answers(t, c, 300*time.Millisecond), os.ErrDeadlineExceeded)
	require.NoError(t, heal())
	require.NoError(t, answers(t, c, 30*time.Second))
	heal, err = n.Lose(h, 0.2)
	require.NoError(t, err)
	for range 20 { // TCP sends again; some are late
		require.NoError(t, answers(t, c, 30*time.Second))
	}
	require.NoError(t, heal())
	_, err = n.Lose(n.Outside(), 0.2)
	require.Error(t, err, "the firewall of the machine is not ours")
}

func TestNothingIsLeftBehind(t *testing.T) {
	t.Parallel()
	n, err := New()
	require.NoError(t, err)
	h, err := n.Host("a")
	require.NoError(t, err)
	pids := []int{n.bridge.pid(), h.ns.pid()}
	outside := outsideName + n.prefix[len(addressesFor):len(n.prefix)-1]
	_, err = net.InterfaceByName(outside)
	require.NoError(t, err)
	require.NoError(t, n.Close())
	require.NoError(t, n.Close())
	for _, pid := range pids {
		require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
	}
	require.Eventually(t, func() bool {
		_, err := net.InterfaceByName(outside)
		return err != nil
	}, 10*time.Second, 10*time.Millisecond)
}
