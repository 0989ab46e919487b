package storm

import (
	"bufio"
	"context"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
)

// Histograms of the nodes that tell where the time of a publish goes: from its receipt at the gateway to its answer, and the part
// of that in the journal.
const (
	gatewayStage = "parley_gateway_publish_duration_seconds"
	journalStage = "parley_journal_append_duration_seconds"
)

var bucketLine = regexp.MustCompile(`^(\w+)_bucket\{(?:.*,)?le="([^"]+)".*\} (\S+)$`)

// histogram counts what took up to so many seconds: not more than its key, and more than the key below.
type histogram map[float64]float64

// histogramOf sums a histogram of nodes, over all its attributes.
func histogramOf(ctx context.Context, tb testing.TB, name string, nodes ...*harness.Node) histogram {
	tb.Helper()
	cumulative := histogram{}
	for _, n := range nodes {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.OpsURL()+"/metrics", nil)
		require.NoError(tb, err)
		res, err := http.DefaultClient.Do(req)
		require.NoError(tb, err)
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() {
			m := bucketLine.FindStringSubmatch(lines.Text())
			if m == nil || m[1] != name {
				continue
			}
			le, err := strconv.ParseFloat(m[2], 64) // also +Inf
			require.NoError(tb, err)
			count, err := strconv.ParseFloat(m[3], 64)
			require.NoError(tb, err)
			cumulative[le] += count
		}
		require.NoError(tb, lines.Err())
		require.NoError(tb, res.Body.Close())
	}
	return cumulative
}

// since is what was counted after before.
func (h histogram) since(before histogram) histogram {
	d := maps.Clone(h)
	for le, n := range before {
		d[le] -= n
	}
	return d
}

// at returns a quantile, interpolated in its bucket; 0 of nothing.
func (h histogram) at(q float64) time.Duration {
	bounds := slices.Sorted(maps.Keys(h))
	if len(bounds) == 0 {
		return 0
	}
	rank := q * h[bounds[len(bounds)-1]]
	low, below := 0.0, 0.0
	for _, le := range bounds {
		if h[le] >= rank && h[le] > below {
			if le > 1e9 { // +Inf
				return time.Duration(low * float64(time.Second))
			}
			return time.Duration((low + (le-low)*(rank-below)/(h[le]-below)) * float64(time.Second))
		}
		low, below = le, h[le]
	}
	return 0
}

// syncEvery is how often the disk is tried.
const syncEvery = 50 * time.Millisecond

// watchDisk is a control: how long 8 KiB take to be written and synced in the directory that the journal is in, too. Other work on
// the machine's disk shows here as well as in the publishes.
func watchDisk(ctx context.Context, of func() *phase) error {
	f, err := os.CreateTemp("", "parley-storm-disk-")
	if err != nil {
		return err
	}
	defer func() {
		_ = f.Close()
		_ = os.Remove(filepath.Clean(f.Name())) // its contents are of no interest
	}()
	page := make([]byte, 8<<10)
	for ctx.Err() == nil {
		p, begun := of(), time.Now()
		if _, err := f.WriteAt(page, 0); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		p.disk.add(time.Since(begun))
		sleep(ctx, syncEvery)
	}
	return nil
}
