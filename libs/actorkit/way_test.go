package actorkit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	linkv1 "github.com/parley-rt/parley/libs/protocol/link/v1"
)

func TestThirdNodesToAsk(t *testing.T) {
	t.Parallel()
	self, to := Peer{Node: "g", Service: "gateway"}, Peer{Node: "t", Service: "rooms"}
	peer := func(node, service string) Peer { return Peer{Node: node, Service: service} }
	rooms := []Peer{peer("r3", "rooms"), peer("r1", "rooms"), peer("r2", "rooms")}
	for name, c := range map[string]struct {
		way    way
		direct []Peer
		want   []string
	}{
		"nobody":                          {way{}, nil, []string{}},
		"neither end":                     {way{}, []Peer{to, self, rooms[0]}, []string{"r3"}},
		"in order":                        {way{}, rooms, []string{"r1", "r2", "r3"}},
		"behind the last":                 {way{last: "r1"}, rooms, []string{"r2", "r3", "r1"}},
		"behind the last of all":          {way{last: "r3"}, rooms, []string{"r1", "r2", "r3"}},
		"the last is gone":                {way{last: "r9"}, rooms, []string{"r1", "r2", "r3"}},
		"what was good first":             {way{hint: "r3"}, rooms, []string{"r3", "r1", "r2"}},
		"also when others were asked":     {way{hint: "r2", last: "r1"}, rooms, []string{"r2", "r3", "r1"}},
		"unless it is no direct peer now": {way{hint: "r9"}, rooms, []string{"r1", "r2", "r3"}},
		"own service, the peer's, others": {way{}, []Peer{peer("a", "other"), peer("b", "rooms"), peer("c", "gateway")}, []string{"c", "b", "a"}},
		"not too many":                    {way{}, append(rooms, peer("r4", "rooms")), []string{"r1", "r2", "r3"}},
		"the others next time":            {way{last: "r3"}, append(rooms, peer("r4", "rooms")), []string{"r4", "r1", "r2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, c.way.pick(self, to, append([]Peer{}, c.direct...)))
		})
	}
}

func TestWhenTheDirectWayIsLookedFor(t *testing.T) {
	t.Parallel()
	start := time.Now()
	at := func(d time.Duration) time.Time { return start.Add(d) }
	var w way
	w.change(start, "")
	require.Equal(t, way{}, w, "it always was direct")
	w.change(start, "r")
	w.change(at(time.Second), "r")
	require.Equal(t, "r", w.hint)
	require.Equal(t, at(time.Second), w.probeAt)
	for _, wait := range []time.Duration{2, 4, 8, 15, 15} {
		w.probedAt = start
		w.missed(start)
		require.Equal(t, at(wait*time.Second), w.probeAt)
	}
	w.heard("s")
	require.Equal(t, "s", w.hint)
	require.Equal(t, at(15*time.Second), w.probeAt, "heard around says nothing of the direct way")
	w.heard("")
	require.Equal(t, at(time.Second), w.probeAt, "heard directly it does, but it is not asked without end")

	w.change(at(time.Minute), "")
	w.change(at(time.Minute+time.Second), "r")
	require.Equal(t, at(time.Minute+16*time.Second), w.probeAt, "it was there for a second only")
	w.change(at(2*time.Minute), "")
	w.change(at(3*time.Minute), "r")
	require.Equal(t, at(3*time.Minute+time.Second), w.probeAt)

	w.failed("other")
	require.Equal(t, "r", w.hint)
	w.failed("r")
	require.Empty(t, w.hint)
	require.Equal(t, "r", w.last)
}

func TestRelayedBatchFitsIntoAnEmptyQueue(t *testing.T) {
	t.Parallel()
	o := outbox{limit: 1000, batchBytes: 500}
	relayed := Frame{relay: &linkv1.Relay{Content: &linkv1.Relay_Batch{Batch: make([]byte, 1100)}}}
	require.Greater(t, frameSize(relayed), 1100)
	require.False(t, o.push(Frame{Body: make([]byte, 1000)}))
	require.True(t, o.push(relayed))
	require.False(t, o.push(relayed), "one")
	require.False(t, o.push(Frame{}))
	var b batch
	require.Zero(t, o.take(&b))
	require.Same(t, relayed.relay, b.seal().GetFrames()[0].GetRelay())
	require.Zero(t, o.bytes)
	b.release()
	require.True(t, o.push(Frame{}))
	require.False(t, o.push(relayed))
}
