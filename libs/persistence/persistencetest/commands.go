package persistencetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/parley-rt/parley/libs/persistence"
)

// The commands of the model test. Each draws its arguments, runs against the store, and checks the answer by the model.

func (m *model) claim(t *rapid.T) {
	m.claimStream(t, m.draw(t))
}

func (m *model) claimStream(t *rapid.T, s *modelStream) *handle {
	owner := rapid.SampledFrom([]string{"node-a", "node-b"}).Draw(t, "owner")
	var opts persistence.ClaimOptions
	if rapid.Bool().Draw(t, "guarded") {
		opts.Guard = persistence.GuardEpoch{Epoch: s.epoch + rapid.SampledFrom([]uint64{0, 0, 1}).Draw(t, "off by")}
	}
	c, err := m.b.Claim(context.Background(), s.key, owner, opts)
	if guard, ok := opts.Guard.(persistence.GuardEpoch); ok && guard.Epoch != s.epoch {
		require.ErrorIs(t, err, persistence.ErrGuard)
		t.Skip("refused by its guard")
	}
	require.NoError(t, err)
	require.Equal(t, s.epoch+1, c.Epoch)
	require.Equal(t, s.owner, c.PreviousOwner)
	require.Equal(t, s.snap(), c.SnapSeq)
	require.Equal(t, s.trim, c.TrimSeq)
	if s.epoch > 0 {
		require.Equal(t, s.incarnation, c.Incarnation)
		require.Equal(t, s.lane, c.Lane)
	}
	s.claimed(c)
	require.Equal(t, s.head(), c.LastSeq)
	m.claimed[s.key] = c.Epoch
	h := &handle{claim: c, head: c.LastSeq}
	m.handles = append(m.handles, h)
	return h
}

// claimed takes over what a claim returned. It settles an append whose outcome was unknown: all or nothing.
func (s *modelStream) claimed(c persistence.Claim) {
	if s.maybe != nil && c.LastSeq == s.head()+uint64(len(s.maybe)) {
		s.events = append(s.events, s.maybe...)
	}
	s.maybe = nil
	s.lane, s.epoch, s.owner, s.incarnation = c.Lane, c.Epoch, c.Owner, c.Incarnation
}

func (m *model) append(t *rapid.T) {
	h := m.handle(t)
	s := m.stream(h)
	if h.dead {
		t.Skip("its outcome is unknown: it has stopped")
	}
	defer m.plan.Clear()
	fault := rapid.SampledFrom([]string{"none", "none", "none", "refused", "lost ack", "lost request"}).Draw(t, "fault")
	switch fault {
	case "refused":
		m.plan.Add(Fault{Op: OpAppend, Err: persistence.ErrUnavailable})
	case "lost ack":
		m.plan.Add(Fault{Op: OpAppend, Err: persistence.ErrUnknown, Late: true})
	case "lost request":
		m.plan.Add(Fault{Op: OpAppend, Err: persistence.ErrUnknown})
	}
	events, rows := m.drawEvents(t, h)
	last, err := m.b.Append(context.Background(), h.claim, h.head, events)
	switch {
	case fault == "refused":
		require.ErrorIs(t, err, persistence.ErrUnavailable)
	case fault == "lost request":
		h.dead = true
		m.unknown(h, s, rows)
	case h.claim.Epoch != s.epoch:
		requireModelFenced(t, err, h, s)
	case fault == "lost ack":
		require.ErrorIs(t, err, persistence.ErrUnknown)
		h.dead = true
		m.unknown(h, s, rows)
	default:
		require.NoError(t, err)
		require.Equal(t, h.head+uint64(len(events)), last)
		h.head = last
		s.events = append(s.events, rows...)
	}
}

// unknown remembers events that may be stored; those of an epoch that lost the stream cannot be.
func (m *model) unknown(h *handle, s *modelStream, rows []stored) {
	if h.claim.Epoch == s.epoch {
		s.maybe = rows
	}
}

func (m *model) drawEvents(t *rapid.T, h *handle) (events []persistence.Event, rows []stored) {
	for range rapid.IntRange(1, 4).Draw(t, "events") {
		e := persistence.Event{Manifest: "test.v1.Event", Payload: make([]byte, rapid.SampledFrom([]int{0, 1, 100, 5000}).Draw(t, "bytes"))}
		_, _ = rand.Read(e.MessageID[:])
		events = append(events, e)
		rows = append(rows, stored{id: e.MessageID, epoch: h.claim.Epoch, part: m.current()})
	}
	return events, rows
}

func requireModelFenced(t *rapid.T, err error, h *handle, s *modelStream) {
	var fenced *persistence.FencedError
	require.ErrorAs(t, err, &fenced)
	want := &persistence.FencedError{Key: s.key, MyEpoch: h.claim.Epoch, Epoch: s.epoch, Owner: s.owner, LastSeq: fenced.LastSeq}
	require.Equal(t, want, fenced)
	if s.maybe == nil {
		require.Equal(t, s.head(), fenced.LastSeq)
	}
}

func (m *model) appendWrong(t *rapid.T) {
	h := m.handle(t)
	s := m.stream(h)
	if s.maybe != nil {
		t.Skip("the head is unknown")
	}
	expected := rapid.Uint64Range(0, s.head()+3).Draw(t, "expected")
	if expected == s.head() && h.claim.Epoch == s.epoch {
		t.Skip("that would be right")
	}
	events, _ := m.drawEvents(t, h)
	_, err := m.b.Append(context.Background(), h.claim, expected, events)
	if h.claim.Epoch != s.epoch {
		requireModelFenced(t, err, h, s)
		return
	}
	require.ErrorIs(t, err, persistence.ErrConflict)
}

func (m *model) release(t *rapid.T) {
	h := m.handle(t)
	require.NoError(t, m.b.Release(context.Background(), h.claim))
	if s := m.stream(h); h.claim.Epoch == s.epoch {
		s.owner = ""
	}
}

func (m *model) snapshot(t *rapid.T) {
	h := m.handle(t)
	s := m.stream(h)
	if s.maybe != nil {
		t.Skip("the head is unknown")
	}
	seq := rapid.Uint64Range(0, s.head()+1).Draw(t, "seq")
	err := m.b.SaveSnapshot(context.Background(), h.claim, persistence.Snapshot{Seq: seq, Payload: fmt.Append(nil, seq)})
	switch {
	case seq == 0:
		require.ErrorIs(t, err, persistence.ErrInvalid)
	case h.claim.Epoch != s.epoch:
		requireModelFenced(t, err, h, s)
	case seq > s.head():
		require.ErrorIs(t, err, persistence.ErrInvalid)
	case seq <= s.snap():
		require.ErrorIs(t, err, persistence.ErrStaleSnapshot)
	default:
		require.NoError(t, err)
		s.snapped(seq)
	}
}

func (s *modelStream) snapped(seq uint64) {
	s.snaps = slices.Insert(s.snaps, 0, seq)
	s.snaps = s.snaps[:min(2, len(s.snaps))]
}

// saveSnapshot saves one at the head by the newest claim.
func (m *model) saveSnapshot(t *rapid.T, s *modelStream, c persistence.Claim) {
	if s.snap() == s.head() {
		return
	}
	require.NoError(t, m.b.SaveSnapshot(context.Background(), c, persistence.Snapshot{Seq: s.head(), Payload: fmt.Append(nil, s.head())}))
	s.snapped(s.head())
}

func (m *model) trim(t *rapid.T) {
	h := m.handle(t)
	s := m.stream(h)
	if h.claim.Epoch == s.epoch && s.maybe == nil && rapid.Bool().Draw(t, "snapshot first") {
		m.saveSnapshot(t, s, h.claim)
	}
	upTo := rapid.Uint64Range(0, s.snap()+1).Draw(t, "up to")
	err := m.b.Trim(context.Background(), h.claim, upTo)
	switch {
	case h.claim.Epoch != s.epoch:
		requireModelFenced(t, err, h, s)
	case upTo > s.snap():
		require.ErrorIs(t, err, persistence.ErrConflict)
	default:
		require.NoError(t, err)
		s.trim = max(s.trim, upTo)
	}
}

func (m *model) reincarnate(t *rapid.T) {
	h := m.handle(t)
	s := m.stream(h)
	c, err := m.b.Reincarnate(context.Background(), h.claim)
	if h.claim.Epoch != s.epoch {
		requireModelFenced(t, err, h, s)
		return
	}
	require.NoError(t, err)
	require.NotEqual(t, s.incarnation, c.Incarnation)
	s.incarnation = c.Incarnation
}

// takeovers: every stream claimed since the mark is listed with its epoch, unless its owner is the one who asks.
func (m *model) takeovers(t *rapid.T) {
	list, next, err := m.b.Takeovers(context.Background(), "node-a", m.mark)
	require.NoError(t, err)
	listed := map[persistence.StreamKey]uint64{}
	for _, takeover := range list {
		s, ok := m.streams[takeover.Key]
		require.True(t, ok, "takeover of %s", takeover.Key)
		require.Equal(t, persistence.Takeover{Key: s.key, Epoch: s.epoch, Owner: s.owner}, takeover)
		require.NotEqual(t, "node-a", takeover.Owner)
		listed[takeover.Key] = takeover.Epoch
	}
	for key, epoch := range m.claimed {
		if m.streams[key].owner != "node-a" {
			require.Equal(t, epoch, listed[key], "takeover of %s", key)
		}
	}
	m.mark = next
	clear(m.claimed)
}

func (m *model) crash(t *rapid.T) {
	if m.store.Crash == nil {
		t.Skip("the store forgets")
	}
	if rapid.IntRange(0, 7).Draw(t, "luck") > 0 { // opening a store takes as long as many commands
		t.Skip("no crash")
	}
	m.use(m.store.Crash())
}
