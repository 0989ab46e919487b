package hostile

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
)

var attackFor = flag.Duration("hostile.attack", 8*time.Second, "how long the gateway with little memory is attacked at least")

// enough newcomers that were refused for want of memory show what is to be shown.
const enough = 5

// limit is the memory of the attacked gateway.
const limit = 128 * mib

// confined starts a datacenter whose gateway has little memory.
func confined(tb testing.TB) (gateway *harness.Node, group *cgroup) {
	tb.Helper()
	group = newCgroup(tb, limit)
	postgres, nats := harness.StartCluster(tb), harness.NewNATS(tb)
	harness.Migrate(tb, postgres.URL())
	nats.Start()
	d := &harness.Deployment{JournalURL: postgres.URL(), ControlPlaneURL: nats.URL()}
	rooms := d.NewNodes(tb, harness.Rooms, 1)[0]
	gateway = d.NewNodes(tb, harness.Gateway, 1)[0]
	gateway.Confine(group.dir)
	rooms.Start()
	gateway.Start()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	require.NoError(tb, rooms.AwaitReady(ctx))
	require.NoError(tb, gateway.AwaitReady(ctx))
	return gateway, group
}

// S9: a gateway with little memory that is attacked with connections, readers that do not read and large messages at the same time is
// never ended by the kernel. It says no clearly, serves those who were there before, and is as before when the attack is over.
func TestMemoryIsDefended(t *testing.T) {
	gateway, group := confined(t)
	addr := strings.TrimPrefix(gateway.URL(), "http://")
	canary := release(t, addr)
	canary.awaitFirst(leastSung)
	before := group.used()

	ctx, cancel := context.WithTimeout(t.Context(), *attackFor+80*time.Second)
	defer cancel()
	var (
		in, refused, newcomers atomic.Int64
		most                   atomic.Int64
		all                    sync.WaitGroup
		crowds                 []*crowd
	)
	attacking, stop := context.WithCancel(ctx)
	defer stop()
	begun := time.Now()
	// Each attacker that is refused or closed comes back at once, which no client would.
	raid := func(n, atOnce int, each func(nc net.Conn) bool) {
		c := &crowd{}
		crowds = append(crowds, c)
		all.Go(func() {
			for attacking.Err() == nil {
				_ = c.fill(attacking, addr, n, atOnce, each) // that it fails is what is hoped for
			}
		})
	}
	count := func(ok bool) bool {
		if ok {
			in.Add(1)
		} else {
			refused.Add(1)
		}
		return ok
	}
	joins := frame(finText, `{"join_room":{"room_id":"crowded"}}`)
	raid(6000, 100, func(nc net.Conn) bool { return count(attack(nc, frame(finText, `{"join_room":{"room_id":"quiet"}}`))) }) // too many
	raid(3000, 50, func(nc net.Conn) bool { return count(attack(nc, joins)) })                                                // that never read
	raid(1000, 50, func(nc net.Conn) bool {                                                                                   // a message that is never finished
		return count(attack(nc, append([]byte{finText, 0xff, 0, 0, 0, 0, 0, 0, 0xf0, 0, 1, 2, 3, 4}, make([]byte, 60_000)...)))
	})
	fat := frame(finText, fmt.Sprintf(`{"message":{"target":"crowded","content":"%s"}}`, strings.Repeat("x", 16<<10)))
	for range 4 { // publishers who do not wait for answers
		all.Go(func() {
			for attacking.Err() == nil {
				nc, err := (&net.Dialer{Timeout: time.Second}).DialContext(attacking, "tcp", addr)
				if err != nil {
					continue
				}
				for ok := attack(nc, joins); ok && attacking.Err() == nil; {
					_ = nc.SetDeadline(time.Now().Add(time.Second))
					_, err := nc.Write(fat)
					ok = err == nil
				}
				_ = nc.Close()
			}
		})
	}
	all.Go(func() { // those who come as they should
		every := time.NewTicker(250 * time.Millisecond)
		defer every.Stop()
		for attacking.Err() == nil {
			most.Store(max(most.Load(), group.used()))
			if time.Since(begun) > *attackFor && newcomers.Load() >= enough {
				stop()
			}
			if status, after, err := tryKnock(attacking, addr); err == nil && status != http.StatusSwitchingProtocols {
				if metric(t, gateway.OpsURL(), "parley_gateway_memory_level_ratio") > 0 {
					newcomers.Add(1)
				}
				if status != http.StatusServiceUnavailable && status != http.StatusTooManyRequests || after <= 0 {
					t.Errorf("a newcomer was refused with %d and told to come back in %s", status, after)
				}
			}
			<-every.C
		}
	})
	<-attacking.Done()
	for _, c := range crowds {
		c.leave()
	}
	all.Wait()
	level := func() float64 { return metric(t, gateway.OpsURL(), "parley_gateway_memory_level_ratio") }
	t.Logf("%d attackers came in and %d did not, %d newcomers were told when to come back; from %d MiB to %d of %d MiB; %.0f connections were shed, %.0f cut for not reading",
		in.Load(), refused.Load(), newcomers.Load(), before/mib, most.Load()/mib, limit/mib,
		metric(t, gateway.OpsURL(), "parley_gateway_connections_shed_total"), metric(t, gateway.OpsURL(), "parley_gateway_outbox_drops_total"))
	require.Zero(t, group.killed())
	running, err := gateway.Running()
	require.True(t, running, "%v", err)
	require.GreaterOrEqual(t, newcomers.Load(), int64(enough), "the attack was not strong enough to show anything")
	canary.await()

	begun = time.Now()
	require.Eventually(t, func() bool { return level() == 0 }, 30*time.Second, 50*time.Millisecond, "the memory does not come back")
	comeIn(t, addr)
	t.Logf("a newcomer was in %s after the attack", time.Since(begun).Round(time.Millisecond))
	canary.unharmed()
	require.Zero(t, group.killed())
}
