// Package firstrun does what a new user does: run the server, talk, stop it, make the usual mistakes.
package firstrun

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
)

const patience = 30 * time.Second

// parley runs a command of the binary to its end and returns what it printed.
func parley(t *testing.T, input string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	binary := harness.Build(t) // may take its time
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

func mustParley(t *testing.T, input string, args ...string) string {
	t.Helper()
	stdout, stderr, err := parley(t, input, args...)
	require.NoError(t, err, stderr)
	return stdout
}

// The commands that the README tells a new user to type are in it as this test types them.
func TestReadmeNamesTheCommands(t *testing.T) {
	t.Parallel()
	root, err := harness.Root()
	require.NoError(t, err)
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	for _, command := range []string{
		"go run ./cmd/parley dev", "./tools/test", "go run ./cmd/parley chat room-1",
		`echo "deployed 1.4.2" | go run ./cmd/parley publish room-1`, "go run ./cmd/parley tail room-1 --history 10",
	} {
		require.Contains(t, string(readme), "\n"+command+"\n")
	}
	for _, link := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(string(readme), -1) {
		require.FileExists(t, filepath.Join(root, link[1]))
	}
}

// The README's first command, with go run in the checkout, prints the table and ready.
func TestGoRunDev(t *testing.T) {
	t.Parallel()
	root, err := harness.Root()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "run", "./cmd/parley", "dev", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0")
	cmd.Dir = root
	// Like a terminal, to the whole group: go run passes no signal on, and the server would outlive the test.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = patience
	reader, writer := io.Pipe()
	cmd.Stdout, cmd.Stderr = writer, writer
	require.NoError(t, cmd.Start())
	text := make(chan string, 1)
	go func() {
		var seen strings.Builder
		buf := make([]byte, 4096)
		for !strings.Contains(seen.String(), "\nready\n") {
			n, err := reader.Read(buf)
			seen.Write(buf[:n])
			if err != nil {
				break
			}
		}
		text <- seen.String()
		_, _ = io.Copy(io.Discard, reader)
	}()
	table := <-text
	for _, row := range []string{"chat page", "websocket", "ops", "journal", "control plane", "data", "ready"} {
		require.Contains(t, table, row)
	}
	cancel()
	_ = cmd.Wait() // go run reports the signal as its own failure
	require.Equal(t, 1, cmd.ProcessState.ExitCode(), "it ends by itself when it is interrupted")
	require.ErrorIs(t, syscall.Kill(-cmd.Process.Pid, 0), syscall.ESRCH, "and leaves no server behind")
	require.NoError(t, writer.Close())
}

func TestPublishTailAndChat(t *testing.T) {
	t.Parallel()
	server := "--server=" + startServer(t).WebSocket()
	seqs := strings.Fields(mustParley(t, "one\ntwo\nthree\n", "publish", "room-1", server))
	require.Len(t, seqs, 3)

	var contents []string
	for line := range strings.Lines(mustParley(t, "", "tail", "room-1", server, "--after", "0", "--count", "3", "--json")) {
		var message struct {
			Seq     uint64 `json:"seq"`
			Content string `json:"content"`
		}
		require.NoError(t, json.Unmarshal([]byte(line), &message))
		require.Equal(t, seqs[len(contents)], strconv.FormatUint(message.Seq, 10))
		contents = append(contents, message.Content)
	}
	require.Equal(t, []string{"one", "two", "three"}, contents)

	newest := mustParley(t, "", "tail", "room-1", server, "--history", "2", "--count", "2")
	require.NotContains(t, newest, ": one\n")
	require.Contains(t, newest, ": two\n")
	require.Contains(t, newest, ": three\n")

	all := mustParley(t, "", "tail", "room-1", server, "--history", "900", "--count", "3")
	require.Equal(t, 3, strings.Count(all, "\n"))
	require.True(t, strings.HasSuffix(all, newest), all)

	talk := mustParley(t, "four\n/who\n/quit\n", "chat", "room-1", server)
	require.Contains(t, talk, ": three\n", "chat begins with history")
	require.Regexp(t, `· \d+ here: `, talk)
	require.Contains(t, mustParley(t, "", "tail", "room-1", server, "--history", "1", "--count", "1"), ": four\n")
}

// Whoever stops the server, or loses it, finds its rooms again: what was said, in its order, and the count goes on.
func TestRestartKeepsRooms(t *testing.T) {
	t.Parallel()
	for _, journal := range harness.Journals() {
		t.Run(string(journal), func(t *testing.T) {
			t.Parallel()
			server := harness.StartDevOn(t, journal)
			at := "--server=" + server.WebSocket()
			seqs := strings.Fields(mustParley(t, "one\ntwo\n", "publish", "room-1", at))
			for i, stop := range []func(){server.Term, server.Kill9} {
				stop()
				server.Restart()
				shown := mustParley(t, "", "tail", "room-1", at, "--history", "10", "--count", strconv.Itoa(2+i))
				require.Regexp(t, `(?s): one\n.*: two\n`, shown)
				seqs = append(seqs, strings.Fields(mustParley(t, "more\n", "publish", "room-1", at))...)
			}
			require.Len(t, seqs, 4)
			for i, text := range seqs[1:] {
				before, err := strconv.Atoi(seqs[i])
				require.NoError(t, err)
				seq, err := strconv.Atoi(text)
				require.NoError(t, err)
				require.Greater(t, seq, before)
			}
		})
	}
}

func TestMessagesCannotSteerATerminal(t *testing.T) {
	t.Parallel()
	server := "--server=" + startServer(t).WebSocket()
	mustParley(t, "", "publish", "room-1", "\x1b[2Jgone\u009b31m", server)
	shown := mustParley(t, "", "tail", "room-1", server, "--history", "1", "--count", "1")
	require.Contains(t, shown, "[2Jgone")
	require.NotContains(t, shown, "\x1b")
	require.NotContains(t, shown, "\u009b")
}

func TestSecondDevOnTheSameDataNamesTheFirst(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	first := startServer(t, "--data", data)
	_, stderr, err := parley(t, "", "dev", "--data", data, "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0")
	require.Error(t, err)
	require.Contains(t, stderr, strconv.Itoa(first.PID()))
	require.Contains(t, stderr, "--data")
}

func TestMistakesAreNamed(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	free := []string{"--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"}
	cases := []struct {
		name string
		args []string
		want string
	}{
		{"port in use", []string{"--listen", taken.Addr().String(), "--ops-listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"}, "--listen"},
		{"ops port in use", []string{"--listen", "127.0.0.1:0", "--ops-listen", taken.Addr().String(), "--api-listen", "127.0.0.1:0"}, "--ops-listen"},
		{"api port in use", []string{"--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--api-listen", taken.Addr().String()}, "--api-listen"},
		{"unknown journal", append([]string{"--journal", "mysql://x"}, free...), "sqlite"},
		{"unknown control plane", append([]string{"--control-plane", "http://x"}, free...), "scheme http is not known"},
		{"unknown flag", []string{"--listne", "x"}, "--listen"},
	}
	for _, test := range cases {
		_, stderr, err := parley(t, "", append([]string{"dev", "--data", t.TempDir()}, test.args...)...)
		require.Error(t, err, test.name)
		require.Contains(t, stderr, test.want, test.name)
		require.NotContains(t, stderr, "goroutine", test.name)
	}
	_, stderr, err := parley(t, "", "tail", "room-1", "--server", "ws://"+taken.Addr().String()+"/ws", "--connect", "300ms")
	require.Error(t, err)
	require.Contains(t, stderr, "parley dev")
}

// The ops port: probes, metrics, version and profiles; none of them on the clients' port.
func TestOpsPort(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	mustParley(t, "", "publish", "room-1", "hello", "--server="+server.WebSocket()) // so that there is something to measure
	get := func(url string) (int, string) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		require.NoError(t, err)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(body)
	}
	for path, want := range map[string]string{
		"/livez": "", "/readyz?verbose": "[+]journal ok", "/version": `"version"`, "/debug/pprof/": "goroutine",
		"/metrics": "parley_gateway_active_connections",
	} {
		status, body := get(server.OpsURL() + path)
		require.Equal(t, http.StatusOK, status, path)
		require.Contains(t, body, want, path)
		status, _ = get(server.URL() + path)
		require.Equal(t, http.StatusNotFound, status, "%s on the clients' port", path)
	}
	status, page := get(server.URL() + "/")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, page, "<!doctype html")
}

// Nothing that members say or hold is in logs or metrics.
func TestNoContentOrTokenInLogsAndMetrics(t *testing.T) {
	t.Parallel()
	for _, journal := range harness.Journals() {
		t.Run(string(journal), func(t *testing.T) {
			t.Parallel()
			server := harness.StartDevOn(t, journal, "--log-level", "debug")
			const canary = "canary-9b1f-content"
			mustParley(t, "", "publish", "room-canary", canary, "--server="+server.WebSocket())
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.OpsURL()+"/metrics", nil)
			require.NoError(t, err)
			response, err := http.DefaultClient.Do(request)
			require.NoError(t, err)
			metrics, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			for name, text := range map[string]string{"metrics": string(metrics), "log": server.Log()} {
				require.NotContains(t, text, canary, name)
			}
			require.NotContains(t, string(metrics), "room-canary", "room ids are not metric labels")
		})
	}
}

func TestVersionAndHelp(t *testing.T) {
	t.Parallel()
	require.Regexp(t, `^parley \S+ \(commit`, mustParley(t, "", "version"))
	var info map[string]any
	require.NoError(t, json.Unmarshal([]byte(mustParley(t, "", "version", "--json")), &info))
	require.NotEmpty(t, info["go"])
	help := mustParley(t, "", "--help")
	for _, command := range []string{"dev", "chat", "publish", "tail", "room", "token", "bench", "version"} {
		require.Contains(t, help, "\n  "+command, fmt.Sprintf("%s in help", command))
	}
}

func startServer(t *testing.T, args ...string) *harness.Server {
	t.Helper()
	return harness.StartDev(t, args...)
}
