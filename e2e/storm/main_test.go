package storm

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"
)

var (
	clients = flag.Int("storm.clients", 1500, "how many clients lose their gateway at once; 10,000 for figures worth comparing")
	stayed  = flag.Int("storm.stayed", 200, "how many publish through the other gateway meanwhile, each in a room of its own that the herd is spread over")
	pace    = flag.Duration("storm.pace", time.Second, "how often each of them publishes")
	setting = flag.String("storm.gateway", "", "more of the gateways' environment: pairs NAME=value separated by spaces")
	calm    = flag.Duration("storm.calm", 10*time.Second, "how long to measure before the storm and after it")
)

// patience bounds every wait, on a machine that builds and tests other things at the same time.
const patience = 8 * time.Minute

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv(herdVariable) != "" {
		if err := herdMain(); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func roomName(i int) string { return fmt.Sprintf("room-%d", i) }

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

var errChain = errors.New("a gap or a repeat")

// times are durations of something. Safe for concurrent use.
type times struct {
	mu   sync.Mutex
	list []time.Duration
}

func (t *times) add(d ...time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, d...)
}

// at returns a quantile, 0 of nothing.
func (t *times) at(q float64) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.list) == 0 {
		return 0
	}
	slices.Sort(t.list)
	return t.list[min(len(t.list)-1, int(q*float64(len(t.list))))]
}

// phase is how publishes went for a while. Safe for concurrent use.
type phase struct {
	// took is from when a publish was due to its acknowledgement; late is the part of that until its publisher got to it, which
	// is this process's and not the servers'.
	took, late times
	// gateway and journal are the parts of took there; disk is the control for what the journal waits for.
	gateway, journal histogram
	disk             times
}

func (p *phase) String() string {
	return fmt.Sprintf("%s (p99 at the gateway %s, in the journal %s, of a sync of the disk %s, of the publishers' own delay %s)",
		&p.took, round(p.gateway.at(0.99)), round(p.journal.at(0.99)), round(p.disk.at(0.99)), round(p.late.at(0.99)))
}

func (t *times) String() string {
	t.mu.Lock()
	n := len(t.list)
	t.mu.Unlock()
	return fmt.Sprintf("p50 %s p99 %s max %s of %d", round(t.at(0.5)), round(t.at(0.99)), round(t.at(1)), n)
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
