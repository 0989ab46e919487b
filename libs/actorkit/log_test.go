package actorkit

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestGoAktLogsAreWarningsOnceASecondPerPlace(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	now := time.Unix(0, 0)
	h := &goaktHandler{next: slog.NewJSONHandler(&out, nil), seen: map[string]*logKey{}, now: func() time.Time { return now }}
	logger := slog.New(h)
	lines := func() []string {
		defer out.Reset()
		return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	}
	logger.Info("not of interest", "caller", "a.go:1")
	for i := range 3 {
		logger.Error(fmt.Sprintf("peer %d is gone", i), "caller", "a.go:1") //nolint:sloglint // GoAkt formats its messages
		logger.Warn("other", "caller", "b.go:1")
	}
	got := lines()
	require.Len(t, got, 2)
	require.Contains(t, got[0], `"level":"INFO","msg":"goakt reports","detail":"peer 0 is gone","caller":"a.go:1"`)
	require.Contains(t, got[1], `"detail":"other"`)
	now = now.Add(logInterval)
	logger.Error("peer 3 is gone", "caller", "a.go:1")
	require.Contains(t, lines()[0], `"suppressed":2`)
	for i := range 3 * maxLogKeys {
		logger.Error("x", "caller", fmt.Sprint(i))
	}
	require.LessOrEqual(t, len(h.seen), maxLogKeys)
}

func TestLostPortRacesAreRecognised(t *testing.T) {
	t.Parallel()
	require.True(t, isAddrInUse(errors.New("failed to start TCP listener: bind: address already in use")))
	require.False(t, isAddrInUse(errors.New("no route to host")))
}

func TestFreePorts(t *testing.T) {
	t.Parallel()
	cfg := NodeConfig{Host: "127.0.0.1", PeersPort: 7}
	filled, err := cfg.fillPorts()
	require.NoError(t, err)
	require.True(t, filled)
	require.Equal(t, 7, cfg.PeersPort)
	require.NotEqual(t, cfg.RemotingPort, cfg.DiscoveryPort)
	before := cfg
	filled, err = cfg.fillPorts()
	require.NoError(t, err)
	require.False(t, filled)
	require.Equal(t, before, cfg)
	_, err = freePort("192.0.2.1") // No address of ours.
	require.ErrorContains(t, err, "no free port on 192.0.2.1")
}
