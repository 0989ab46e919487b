//go:build linux

package bench

import (
	"context"
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/cmd/parley/internal/barehub"
)

// startHub serves a bare hub in this process, whose CPU time is then this process's.
func startHub(t *testing.T, tail int) *server {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	addr, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- barehub.Run(ctx, barehub.Options{Listen: "127.0.0.1:0", Tail: tail, Loops: 2}, func(a string) { addr <- a })
	}()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	select {
	case a := <-addr:
		return &server{url: "ws://" + a + "/ws", pid: os.Getpid()}
	case err := <-ended:
		ended <- err
		require.NoError(t, err)
		return nil
	}
}

// small makes a scenario's run one of moments.
func small(s Scenario) Scenario {
	s.Rooms, s.Connections = min(s.Rooms, 5), min(s.Connections, 40)
	s.Publishers = min(s.Publishers, s.Connections)
	s.InFlight = min(s.InFlight, s.Window*s.Publishers)
	s.Missed = min(s.Missed, 100)
	s.Warmup, s.Duration = min(s.Warmup, 100*time.Millisecond), min(s.Duration, 300*time.Millisecond)
	return s
}

func TestEveryScenarioOverTheBareHub(t *testing.T) {
	t.Parallel()
	for _, s := range All() {
		s = small(s)
		t.Run(s.Title, func(t *testing.T) {
			t.Parallel()
			srv := startHub(t, s.Missed)
			g, err := newGenerator(t.Context(), srv.url, s.Payload)
			require.NoError(t, err)
			defer g.close()
			drive := map[Kind]func(*generator, *server, Scenario) (Result, error){Traffic: traffic, Idle: idle, Recovery: recovery, Storm: storm}[s.Kind]
			r, err := drive(g, srv, s)
			require.NoError(t, err)
			r.finish(s.Unit)
			require.Zero(t, r.Gaps)
			require.Zero(t, r.Refused)
			switch s.Kind {
			case Traffic:
				require.NotZero(t, r.Published)
				require.NotZero(t, r.Delivered)
				require.NotNil(t, r.Ack)
				require.NotNil(t, r.Delivery)
			case Recovery:
				require.Equal(t, uint64(s.Connections*s.Missed), r.Delivered)
				require.NotNil(t, r.Recovery)
			case Idle, Storm:
				require.Equal(t, uint64(s.Connections), r.Opened)
				require.NotNil(t, r.Open)
			}
		})
	}
}

// S5: what the figures rest on. A message that is missing, or comes twice, is seen whatever the frames around it are.
func TestGeneratorSeesGapsAndRepeats(t *testing.T) {
	t.Parallel()
	message := func(seq, previous string) []byte {
		return []byte(`{"message":{"content":"00000000000000000001","seq":"` + seq + `","prev_seq":"` + previous + `"}}`)
	}
	for name, test := range map[string]struct {
		stream [][]byte
		want   uint64
	}{
		"whole":        {[][]byte{message("3", "2"), message("4", "3"), message("9", "4")}, 0},
		"gap":          {[][]byte{message("3", "2"), message("5", "4")}, 1},
		"repeat":       {[][]byte{message("3", "2"), message("4", "3"), message("4", "3")}, 1},
		"out of order": {[][]byte{message("3", "2"), message("5", "4"), message("4", "3")}, 2},
		"reset":        {[][]byte{message("3", "2"), []byte(`{"reset":{"room_id":"r","seq":"9"}}`)}, 1},
	} {
		g := &generator{deliveries: newHistogram()}
		c := &conn{stage: open}
		for _, payload := range test.stream {
			require.NoError(t, g.frame(c, opText, payload, 0), name)
		}
		require.Equal(t, test.want, g.gaps, name)
	}
}

func TestClosedLoopChargesAStallForWhatItHeldUp(t *testing.T) {
	t.Parallel()
	g := &generator{acks: newHistogram(), measuring: true, expected: 1000, started: time.Now().Add(-time.Second)}
	c := &conn{due: []int64{0}, number: 1, outstanding: 1}
	require.NoError(t, g.ack(c, []byte(`{"ack":{"message_id":"1","seq":"1"}}`)))
	require.InDelta(t, 1000, g.acks.TotalCount(), 5, "one publish took a second where one a millisecond was usual")
	require.InDelta(t, 500_000, g.acks.ValueAtQuantile(50), 10_000)
}

func TestOpenLoopIsTimedFromWhenItWasDue(t *testing.T) {
	t.Parallel()
	g := &generator{started: time.Now().Add(-time.Second), payload: stampBytes, lags: newHistogram(), measuring: true}
	c := &conn{due: make([]int64, 128)}
	begin := g.now()
	openLoop(g, []*conn{c}, 100)
	g.onTurn(begin + time.Second.Nanoseconds() + time.Millisecond.Nanoseconds())
	require.InDelta(t, 100, c.number, 1, "what a second of stalling held up")
	require.InDelta(t, 990*1000, g.lags.Max(), 20_000)
	require.InDelta(t, begin+10*time.Millisecond.Nanoseconds(), c.due[1], float64(5*time.Millisecond))
}

func TestRunNeedsTheProcessOfARunningServer(t *testing.T) {
	t.Parallel()
	s := small(Fanout())
	_, err := Run(t.Context(), Options{Alone: true, Target: Target{URL: "ws://127.0.0.1:1/ws"}}, s, NewProgress(io.Discard, 1))
	require.ErrorContains(t, err, "--pid", "CPU time is half of the result")
}

// Those that came first are written to first: their latency alone would be the best of all.
func TestProbesAreSpread(t *testing.T) {
	t.Parallel()
	for _, of := range []int{1, 3, probes, 64, 1000} {
		var at []int
		for i := range of {
			if isProbe(i, of) {
				at = append(at, i)
			}
		}
		require.Len(t, at, min(of, probes))
		require.Equal(t, of-1, at[len(at)-1], "the last of %d", of)
		if of > probes {
			require.Positive(t, at[0])
		}
	}
}

// An acknowledgement whose time is not known any more ends the run instead of counting as a quick one.
func TestForgottenTimesAreNoLatencies(t *testing.T) {
	t.Parallel()
	g := &generator{acks: newHistogram(), measuring: true, started: time.Now()}
	c := &conn{due: make([]int64, 4), number: 5, outstanding: 5}
	require.ErrorContains(t, g.ack(c, []byte(`{"ack":{"target":"r","message_id":"1","seq":"1"}}`)), "lower the rate")
	require.Zero(t, g.acks.TotalCount())
	require.NoError(t, g.ack(c, []byte(`{"ack":{"target":"r","message_id":"2","seq":"2"}}`)))
	require.EqualValues(t, 1, g.acks.TotalCount())
}
