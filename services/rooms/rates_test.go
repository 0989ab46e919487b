package rooms

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// The rates of a room are in its stream: another node that takes it over keeps them, whatever its own are, until they are given back.
func TestRatesOfARoomOutliveItsWriter(t *testing.T) {
	t.Parallel()
	eachBackend(t, testRatesOfARoomOutliveItsWriter)
}

func testRatesOfARoomOutliveItsWriter(t *testing.T, backend persistence.Backend) {
	p := setupPairOn(t, backend, func(c *Config) { c.MovesPerSecond = -1 })
	ops := startPeer(t, p.plane, ServiceName, "ops-1")
	ops.connect(p.one, p.two)
	change := func(node, operation string, r *journalv1.Rate) *journalv1.Settings {
		answer := ops.ask(node, "lobby", administerFrame(operation, &roomv1.ChangeSettings{MessageRate: r}))
		require.NotNil(t, answer.GetAdministered(), "answered by %v", answer)
		return answer.GetAdministered().Settings
	}
	taken := func(node string, first int) (count int) {
		ids := make([]string, 10)
		for i := range ids {
			ids[i] = fmt.Sprint("m", first+i)
		}
		for _, o := range p.gw.publish(node, "lobby", "ada", ids...) {
			if o.Refused == nil {
				count++
				continue
			}
			require.Equal(t, int32(clientv1.ErrorCode_ERROR_CODE_RATE_LIMITED), o.Refused.Code)
			require.Greater(t, o.Refused.RetryAfterMs, uint32(100_000), "what the room regains in a thousand seconds")
		}
		return count
	}
	p.gw.join("rooms-1", "lobby", "ada")
	require.Equal(t, 10, taken("rooms-1", 0), "the service has no limits here")
	change("rooms-1", "narrow", &journalv1.Rate{PerSecond: 0.001, Burst: 3})
	require.Equal(t, 3, taken("rooms-1", 10))

	kill(t, p.one)
	require.Eventually(t, func() bool {
		return p.gw.ask("rooms-2", "lobby", &roomv1.Frame{Kind: &roomv1.Frame_Subscribe{Subscribe: &roomv1.Subscribe{}}}).GetSubscribed() != nil
	}, patience, 50*time.Millisecond)
	require.Equal(t, 3, taken("rooms-2", 20))
	require.Nil(t, change("rooms-2", "back", &journalv1.Rate{}).MessageRate)
	require.Equal(t, 10, taken("rooms-2", 30))
}
