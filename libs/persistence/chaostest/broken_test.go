package chaostest

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/persistencetest"
)

// TestWitnessNoticesWhatIsBroken: every check of the witness fails on a testimony that breaks it, and on no other.
func TestWitnessNoticesWhatIsBroken(t *testing.T) {
	t.Parallel()
	const key = persistence.StreamKey("room/1")
	random := rand.New(rand.NewPCG(1, 2))
	made := func(s state, n uint64) (persistence.Event, state) {
		e, after := s.compose(random, messageID(1, n), 0)
		e.Seq, e.Epoch = s.seq+1, 1
		return e, after
	}
	first, after := made(state{}, 1)
	second, _ := made(after, 2)
	other, _ := made(after, 3)
	stray, _ := made(state{seq: 1, chain: 17}, 4)
	claim := persistence.Claim{Key: key, Epoch: 2, LastSeq: 2, SnapSeq: 2, TrimSeq: 1, Incarnation: 5}
	n := &node{name: "node-0"}
	later := &node{name: "node-1"}

	tests := []struct {
		name   string
		broken persistencetest.Invariant // empty: none
		tell   func(w *witness)
	}{
		{"all is well", "", func(w *witness) {
			w.saw("a", key, []persistence.Event{first, second})
			w.claimed("b", claim, w.floor(key))
			w.restored("b", key, after)
			w.standbyGone()
			w.standbyBack()
			w.wrote(key, time.Now(), "append")
		}},
		{"another event", stays, func(w *witness) { w.saw("a", key, []persistence.Event{first, second, other}) }},
		{"another epoch", stays, func(w *witness) {
			w.saw("a", key, []persistence.Event{first})
			again := first
			again.Epoch = 2
			w.fed("b", []persistence.FeedEvent{{Event: again, Key: key}})
		}},
		{"a writer of another state", rebuilt, func(w *witness) { w.saw("a", key, []persistence.Event{first, stray}) }},
		{"a snapshot of another state", rebuilt, func(w *witness) {
			w.saw("a", key, []persistence.Event{first})
			w.restored("b", key, state{seq: 1, chain: 17})
		}},
		{"a shorter stream", stays, func(w *witness) {
			w.saw("a", key, []persistence.Event{first, second})
			w.head("b", persistence.Head{Key: key, Epoch: 1, LastSeq: 1}, w.floor(key))
		}},
		{"a claim of a shorter stream", stays, func(w *witness) {
			w.saw("a", key, []persistence.Event{first, second})
			short := claim
			short.LastSeq = 1
			w.claimed("b", short, w.floor(key))
		}},
		{"an epoch twice", rises, func(w *witness) {
			w.claimed("a", claim, w.floor(key))
			w.claimed("b", claim, w.floor(key))
		}},
		{"a lost snapshot", kept, func(w *witness) {
			w.snapshotted(key, 3)
			w.claimed("a", claim, w.floor(key))
		}},
		{"a lost trim", kept, func(w *witness) {
			w.trimmed(key, 2)
			w.claimed("a", claim, w.floor(key))
		}},
		{"another incarnation", kept, func(w *witness) {
			w.claimed("a", claim, w.floor(key))
			next := claim
			next.Epoch, next.Incarnation = 3, 6
			w.claimed("b", next, w.floor(key))
		}},
		{"an event the feed left out", delivered, func(w *witness) {
			w.fed("a", []persistence.FeedEvent{{Event: first, Key: key}})
			w.saw("b", key, []persistence.Event{second})
			w.mustBeFed(key)
		}},
		{"an acknowledgement without a standby", replicated, func(w *witness) {
			w.standbyGone()
			w.wrote(key, time.Now().Add(time.Millisecond), "append")
		}},
		{"two holders of a lease", alone, func(w *witness) {
			d := &leaseDuel{l: &load{witness: w}, name: "lease"}
			now := time.Now()
			d.acquired(n, persistence.Lease{Epoch: 1, ExpiresAt: now.Add(time.Second)}, time.Second, 0, now)
			d.acquired(later, persistence.Lease{Epoch: 2, ExpiresAt: now.Add(1500 * time.Millisecond)}, time.Second, 1, now)
		}},
		{"one holder after the other", "", func(w *witness) {
			d := &leaseDuel{l: &load{witness: w}, name: "lease"}
			now := time.Now()
			d.acquired(n, persistence.Lease{Epoch: 1, ExpiresAt: now.Add(time.Second)}, time.Second, 0, now)
			d.acquired(later, persistence.Lease{Epoch: 2, ExpiresAt: now.Add(2 * time.Second)}, time.Second, 1, now)
		}},
		{"a checkpoint saved by who lost it", alone, func(w *witness) {
			d := &laneDuel{l: &load{witness: w}, epoch: 2}
			d.saved(persistence.Checkpoint{Epoch: 1}, 5, 2, time.Now())
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWitness()
			test.tell(w)
			if test.broken == "" {
				require.Empty(t, w.violations())
				return
			}
			require.NotEmpty(t, w.violations())
			for _, v := range w.violations() {
				require.Equal(t, test.broken, v.Invariant, v)
			}
		})
	}
}

// TestStateIsAChain: a state is rebuilt only from its own events, in their order, and from its own snapshot.
func TestStateIsAChain(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	var s state
	var events []persistence.Event
	for i := range uint64(10) {
		e, next := s.compose(random, messageID(1, i), i/3)
		e.Seq = s.seq + 1
		events, s = append(events, e), next
	}
	var again state
	for i := range events {
		next, err := again.apply(&events[i])
		require.NoError(t, err)
		again = next
	}
	require.Equal(t, s, again)
	restored, err := restore(s.snapshot())
	require.NoError(t, err)
	require.Equal(t, s, restored)

	_, err = state{}.apply(&events[1])
	require.ErrorContains(t, err, "follows state 0")
	foreign := events[1]
	foreign.Seq = 1
	_, err = state{}.apply(&foreign)
	require.ErrorContains(t, err, "was written on a state")
	fallen, _ := s.compose(random, messageID(2, 1), 1)
	fallen.Seq = s.seq + 1
	_, err = s.apply(&fallen)
	require.ErrorContains(t, err, "lease")
	wrong := s.snapshot()
	wrong.Seq++
	_, err = restore(wrong)
	require.Error(t, err)
}
