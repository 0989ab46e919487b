package gateway

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

// scales are a Memory of 1,000 bytes that a test fills.
type scales struct {
	used   atomic.Int64
	broken atomic.Bool
}

func (s *scales) Limit() (bytes int64, name string) { return 1000, "test" }

func (s *scales) Used() (used, of int64, err error) {
	if s.broken.Load() {
		return 0, 0, errors.New("as if")
	}
	return s.used.Load(), 1000, nil
}

// S9: as memory runs out newcomers are refused and told when to come back, then those who came last are sent away with a time, and
// who was there first goes on; when there is memory again, all is as before. What cannot be measured changes nothing.
func TestMemoryAdmission(t *testing.T) {
	t.Parallel()
	memory := &scales{}
	g := setup(t, 1, func(c *Config) { c.Memory = memory })
	there := g.join("room-1")
	var last []*client
	for range 4 * shedLeast { // on a slow machine several rounds go
		last = append(last, g.join("room-1"))
	}
	lets := func(in bool, after time.Duration) {
		t.Helper()
		require.Eventually(t, func() bool {
			wait, err := knock(g.service.Addr())
			require.NoError(t, err)
			return (wait == 0) == in && (in || wait >= after)
		}, patience, 20*time.Millisecond)
	}
	talks := func() {
		t.Helper()
		there.send(`{"message":{"target":"room-1","content":"still here"}}`)
		there.find("ack")
	}
	lets(true, 0)
	memory.used.Store(799)
	lets(true, 0)
	memory.used.Store(810)
	lets(false, fullFor)
	memory.used.Store(760)
	lets(false, fullFor) // which would waver otherwise
	talks()
	memory.broken.Store(true)
	lets(false, fullFor)
	memory.broken.Store(false)
	memory.used.Store(740)
	lets(true, 0)
	require.Eventually(t, func() bool { return g.service.acceptor.Active() == 1+4*shedLeast }, patience, time.Millisecond) // the knockers are gone

	memory.used.Store(930)
	for _, c := range last[3*shedLeast:] {
		told := c.find("reconnect").GetReconnect()
		require.Equal(t, "OVERLOADED", told.GetReason())
		require.GreaterOrEqual(t, told.GetAfterMs(), uint32(comeBackFrom.Milliseconds()))
		c.expectClose(clientv1.CloseCode_CLOSE_CODE_OVERLOADED)
	}
	memory.used.Store(500)
	lets(true, 0)
	talks()
}

const fullFor = 5 * time.Second
