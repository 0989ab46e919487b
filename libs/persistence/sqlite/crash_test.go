package sqlite_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/sqlite"
)

// childEnv makes this test binary a writer that appends to the journal it names until it is killed.
const childEnv = "PARLEY_TEST_JOURNAL_CHILD"

const (
	crashRounds  = 20
	crashStreams = 24
)

// ack is an event whose append returned.
type ack struct {
	stream int
	seq    uint64
	epoch  uint64
	id     string
}

func crashKey(stream int) persistence.StreamKey {
	return persistence.StreamKey(fmt.Sprintf("room/%d", stream))
}

// TestKill proves "acknowledged is durable": a process that appends from many goroutines is killed with SIGKILL at a
// random moment, again and again, and every append it had acknowledged is in the file at the acknowledged seq.
func TestKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.db")
	acked := map[int]map[uint64]ack{}
	for stream := range crashStreams {
		acked[stream] = map[uint64]ack{}
	}
	total := 0
	for round := range crashRounds {
		fresh := runAndKill(t, path, 1+rand.IntN(400))
		for _, a := range fresh {
			require.NotContains(t, acked[a.stream], a.seq, "seq %d of stream %d was acknowledged twice", a.seq, a.stream)
			acked[a.stream][a.seq] = a
		}
		total += len(fresh)
		checkAcked(t, path, acked, round+1)
	}
	t.Logf("%d acknowledged events survived %d kills", total, crashRounds)
	require.Greater(t, total, crashRounds)
}

// runAndKill runs the child, kills it after some acknowledgements, and returns all that it printed.
func runAndKill(t *testing.T, path string, after int) (acks []ack) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+path)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // a line that the kill cut short is no acknowledgement
		}
		var a ack
		_, err = fmt.Sscanf(line, "%d %d %d %s", &a.stream, &a.seq, &a.epoch, &a.id)
		require.NoError(t, err, line)
		if acks = append(acks, a); len(acks) == after {
			require.NoError(t, child.Process.Kill())
		}
	}
	require.Error(t, child.Wait(), "the child ends only by the kill")
	return acks
}

func checkAcked(t *testing.T, path string, acked map[int]map[uint64]ack, rounds int) {
	t.Helper()
	b := open(t, path, sqlite.Options{})
	defer func() { require.NoError(t, b.Close(context.Background())) }()
	for stream, want := range acked {
		var events []persistence.Event
		for next := uint64(1); ; next += persistence.MaxRead {
			page, err := b.Read(t.Context(), crashKey(stream), next, persistence.MaxRead)
			require.NoError(t, err)
			if events = append(events, page...); len(page) < persistence.MaxRead {
				break
			}
		}
		found, epoch := 0, uint64(0)
		for i, e := range events {
			require.EqualValues(t, i+1, e.Seq)
			require.GreaterOrEqual(t, e.Epoch, epoch)
			epoch = e.Epoch
			if a, ok := want[e.Seq]; ok {
				require.Equal(t, a, ack{stream: stream, seq: e.Seq, epoch: e.Epoch, id: hex.EncodeToString(e.MessageID[:])})
				found++
			}
		}
		require.Len(t, want, found, "acknowledged events are missing from stream %d", stream)
		require.LessOrEqual(t, len(events)-found, 4*rounds, "more than the append under way was stored without an answer")
	}
}

// runChild appends from many goroutines and prints each acknowledged event.
func runChild(path string) int {
	ctx := context.Background()
	b, err := sqlite.Open(ctx, path, sqlite.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var group sync.WaitGroup
	for stream := range crashStreams {
		group.Go(func() {
			if err := appendForever(ctx, b, stream); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		})
	}
	group.Wait()
	return 1
}

func appendForever(ctx context.Context, b *sqlite.Backend, stream int) error {
	c, err := b.Claim(ctx, crashKey(stream), "child", persistence.ClaimOptions{})
	if err != nil {
		return err
	}
	for head := c.LastSeq; ; {
		events := make([]persistence.Event, 1+rand.IntN(4))
		for i := range events {
			events[i] = persistence.Event{Manifest: "test.v1.Event", Payload: make([]byte, rand.IntN(2000))}
			for j := range events[i].MessageID {
				events[i].MessageID[j] = byte(rand.Uint32())
			}
		}
		last, err := b.Append(ctx, c, head, events)
		if err != nil {
			return err
		}
		var lines strings.Builder
		for i, e := range events {
			fmt.Fprintf(&lines, "%d %d %d %x\n", stream, head+1+uint64(i), c.Epoch, e.MessageID)
		}
		if _, err := os.Stdout.WriteString(lines.String()); err != nil {
			return err
		}
		if head = last; head%50 < 4 {
			if err := b.SaveSnapshot(ctx, c, persistence.Snapshot{Seq: head, Payload: make([]byte, 1000)}); err != nil {
				return err
			}
		}
	}
}

// TestTornLog: whatever a power cut leaves of the log's end, the file opens and has every commit that was complete before
// the damage, and nothing of the others.
func TestTornLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "journal.db")
	b := open(t, path, sqlite.Options{})
	c, err := b.Claim(t.Context(), "room/1", "node-a", persistence.ClaimOptions{})
	require.NoError(t, err)
	var sizes []int64 // of the log after each append
	for head := uint64(0); head < 40; head++ {
		payload := make([]byte, rand.IntN(10_000))
		_, err := b.Append(t.Context(), c, head, []persistence.Event{{Manifest: "test.v1.Event", Payload: payload}})
		require.NoError(t, err)
		info, err := os.Stat(path + "-wal")
		require.NoError(t, err)
		sizes = append(sizes, info.Size())
	}
	database, err := os.ReadFile(path)
	require.NoError(t, err)
	log, err := os.ReadFile(path + "-wal")
	require.NoError(t, err)
	require.NoError(t, b.Close(t.Context()))
	require.EqualValues(t, len(log), sizes[len(sizes)-1], "no checkpoint began the log anew")

	for i := range 30 {
		cut := sizes[0] + rand.Int64N(int64(len(log))-sizes[0])
		torn := append([]byte(nil), log...)
		damage := "truncated"
		switch i % 3 {
		case 0:
			torn = torn[:cut]
		case 1:
			damage = "garbled"
			for j := cut; j < int64(len(torn)); j++ {
				torn[j] ^= byte(1 + rand.IntN(255))
			}
		case 2:
			damage = "zeroed"
			clear(torn[cut:])
		}
		want := uint64(0)
		for _, size := range sizes {
			if size <= int64(len(torn)) && bytes.Equal(torn[:size], log[:size]) { // zeroed may be as it was
				want++
			}
		}
		copied := filepath.Join(dir, fmt.Sprintf("copy-%d.db", i))
		require.NoError(t, os.WriteFile(copied, database, 0o600))
		require.NoError(t, os.WriteFile(copied+"-wal", torn, 0o600))
		checkTorn(t, copied, want, fmt.Sprintf("%s at %d of %d", damage, cut, len(log)))
	}
}

func checkTorn(t *testing.T, path string, want uint64, damage string) {
	t.Helper()
	b := open(t, path, sqlite.Options{Readers: 1})
	defer func() { require.NoError(t, b.Close(context.Background())) }()
	c, err := b.Claim(t.Context(), "room/1", "node-b", persistence.ClaimOptions{})
	require.NoError(t, err)
	require.Equal(t, want, c.LastSeq, damage)
	rec, err := b.Recover(t.Context(), c)
	require.NoError(t, err, damage)
	require.Len(t, rec.Tail, int(want))
	_, err = b.Append(t.Context(), c, want, []persistence.Event{{Manifest: "test.v1.Event"}})
	require.NoError(t, err)
}
