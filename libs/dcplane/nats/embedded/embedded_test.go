package embedded

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// victimDir tells this binary that it is the process to be killed.
const victimDir = "PARLEY_EMBEDDED_VICTIM_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		if err := victim(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// victim runs a server, stores one value on disk, says so and waits to be killed.
func victim(dir string) error {
	ctx := context.Background()
	s, err := Start(ctx, Config{Dir: dir})
	if err != nil {
		return err
	}
	conn, err := natsio.Connect("", natsio.InProcessServer(s))
	if err != nil {
		return err
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "kept", Storage: jetstream.FileStorage})
	if err != nil {
		return err
	}
	if _, err := kv.Put(ctx, "answer", []byte("42")); err != nil {
		return err
	}
	fmt.Println("stored")
	_, err = io.Copy(io.Discard, os.Stdin) // ends with the parent, should that die first
	return err
}

func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Shutdown(context.Background())) })
	return s
}

func bucket(t *testing.T, s *Server, name string) (jetstream.KeyValue, error) {
	t.Helper()
	conn, err := natsio.Connect("", natsio.InProcessServer(s))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	return js.KeyValue(t.Context(), name)
}

// TestSurvivesKill: kill -9 leaves lock and JetStream files behind; the next start on the same directory takes them over
// at once and finds what was stored. Three times, since recovery leaves files of its own.
func TestSurvivesKill(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "nats")
	for range 3 {
		killVictim(t, dir)
		_, err := os.Stat(filepath.Join(dir, "parley.lock"))
		require.NoError(t, err, "the lock file is left over")
	}
	began := time.Now()
	s := start(t, Config{Dir: dir})
	require.Less(t, time.Since(began), 5*time.Second)
	kv, err := bucket(t, s, "kept")
	require.NoError(t, err)
	entry, err := kv.Get(t.Context(), "answer")
	require.NoError(t, err)
	require.Equal(t, "42", string(entry.Value()))
}

// killVictim starts this binary as victim on dir, and kills it once it has stored its value; while it lives, dir is
// taken.
func killVictim(t *testing.T, dir string) {
	t.Helper()
	executable, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), executable)
	cmd.Env = append(os.Environ(), victimDir+"="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "stored\n", line)

	_, err = Start(t.Context(), Config{Dir: dir})
	require.ErrorContains(t, err, fmt.Sprintf("held by process %d", cmd.Process.Pid))

	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	require.ErrorIs(t, stdin.Close(), os.ErrClosed)
}

func TestRestartAfterShutdown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := start(t, Config{Dir: dir})
	require.Empty(t, first.URL(), "no port unless asked for")
	require.NoError(t, first.Shutdown(t.Context()))
	require.NoError(t, first.Shutdown(t.Context()), "twice is harmless")
	_, err := first.InProcessConn()
	require.Error(t, err)
	start(t, Config{Dir: dir})
}

func TestListen(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	require.True(t, strings.HasPrefix(s.URL(), "nats://127.0.0.1:"), s.URL())
	conn, err := natsio.Connect(s.URL())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.Flush())
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, taken.Close()) }()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for want, cfg := range map[string]Config{
		"dir is empty":             {},
		"-1 and 0 bytes: negative": {Dir: t.TempDir(), MaxMemory: -1},
		`listen address "nowhere": address nowhere: missing port`: {Dir: t.TempDir(), Listen: "nowhere"},
		`port "http" is not in 0–65535`:                           {Dir: t.TempDir(), Listen: "127.0.0.1:http"},
		"address already in use":                                  {Dir: t.TempDir(), Listen: taken.Addr().String()},
		"not a directory":                                         {Dir: file},
	} {
		_, err := Start(t.Context(), cfg)
		require.ErrorContains(t, err, "start embedded nats: ")
		require.ErrorContains(t, err, want)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Dir: t.TempDir(), MaxMemory: 1 << 20})
	conn, err := natsio.Connect("", natsio.InProcessServer(s))
	require.NoError(t, err)
	defer conn.Close()
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	_, err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "big", Storage: jetstream.MemoryStorage, MaxBytes: 2 << 20})
	require.ErrorContains(t, err, "insufficient memory resources")
}
