package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"

	"github.com/parley-rt/parley/libs/persistence"
)

// A retention by number holds from the seq of its change on, for every writer, and what it has let go does not come back.
func TestRetentionCount(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	r.seats["ada"] = 0
	h := &history{}
	apply := func(events []persistence.Event) { h.events = append(h.events, commit(t, r.state, events, r.now)...) }
	n := 0
	publish := func(count int) {
		for range count {
			n++
			events, _ := post(r.state.Draft(maxContent, r.seats), "ada", []*roomv1.Draft{draftOf(fmt.Sprint(n), "x")}, r.state.Head()+1, r.now)
			apply(events)
		}
	}
	retain := func(count uint64) {
		n++
		events, ruled := r.state.Draft(maxContent, r.seats).Administer(asked(fmt.Sprint(n), &roomv1.ChangeSettings{RetentionCount: &count}), r.state.Head()+1, r.now)
		require.Nil(t, ruled.Refused)
		apply(events)
	}
	publish(20)
	require.Zero(t, r.state.Trimmed())
	retain(5) // seq 21
	require.Equal(t, uint64(16), r.state.Trimmed())
	publish(3)
	require.Equal(t, uint64(19), r.state.Trimmed())
	retain(10_000)
	require.Equal(t, uint64(19), r.state.Trimmed(), "what is gone is gone")
	publish(2)
	require.Equal(t, uint64(19), r.state.Trimmed())
	snap, err := r.state.Snapshot()
	require.NoError(t, err)
	snap.Seq = r.state.Head()
	h.snaps = append(h.snaps, snap)
	for from := range 2 {
		require.Equal(t, uint64(19), h.recovered(t, from-1, 7, r.now).Trimmed())
	}
	require.Equal(t, clientv1.ResetReason_RESET_REASON_TRIMMED,
		Resolve(&roomv1.Cursor{AfterSeq: 12}, Facts{Head: r.state.Head(), Trimmed: r.state.Trimmed()}).Reset)
}

// What age has let go is kept in mind by a change of settings, so that it does not come back with a longer one.
func TestChangedRetentionBringsNothingBack(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	r.seats["ada"] = 0
	for n := range 10 {
		r.publish("ada", fmt.Sprint(n))
	}
	require.Nil(t, r.ask(&roomv1.ChangeSettings{RetentionAge: durationpb.New(MinRetention)}).Refused)
	require.Equal(t, MinRetention, r.state.RetentionAge())
	r.state.Raise(6)
	events, ruled := r.state.Draft(maxContent, r.seats).Administer(asked("longer", &roomv1.ChangeSettings{RetentionAge: durationpb.New(time.Hour)}), 12, r.now)
	require.True(t, ruled.Answer.Changed)
	other := liveState()
	other.head, other.lastMessage = 11, 10
	commit(t, other, events, r.now)
	require.Equal(t, uint64(6), other.Trimmed())
}

// S3: the stream keeps the events from which the next writer reads back what it must recognise.
func TestSpare(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	r.seats["ada"] = 0
	one := uint64(1)
	r.ask(&roomv1.ChangeSettings{RetentionCount: &one})
	for n := range SureIDs + 500 {
		r.publish("ada", fmt.Sprint(n))
	}
	require.Equal(t, r.state.Head()-1, r.state.Trimmed())
	require.Zero(t, r.state.Spare(), "everything is of the last two minutes")
	r.now = r.now.Add(WindowAge + segmentAge)
	r.publish("ada", "later")
	require.Equal(t, r.state.Head()-SureIDs, r.state.Spare())
	for n := range 2 * SureIDs {
		r.publish("ada", fmt.Sprint("more", n))
	}
	require.Equal(t, uint64(SureIDs+501), r.state.Spare(), "up to the first of those that are young")
	r.state.Expire(r.now.Add(time.Hour))
	require.Equal(t, r.state.Head()-SureIDs, r.state.Spare())
}

// The search finds the newest event of age, whatever the times are, with few reads; trims in between do not confuse it.
func TestAgeSearch(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 500).Draw(t, "events")
		at := make([]time.Time, n+1) // by seq
		now := epochTime
		for seq := 1; seq <= n; seq++ {
			now = now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "gap")) * time.Second)
			at[seq] = now
		}
		trimmed := uint64(rapid.IntRange(0, n).Draw(t, "trimmed"))
		before := epochTime.Add(time.Duration(rapid.IntRange(-1, 1600).Draw(t, "before")) * time.Second)
		want := trimmed
		for seq := trimmed + 1; seq <= uint64(n) && at[seq].Before(before); seq++ {
			want = seq
		}
		search, reads := NewAgeSearch(trimmed, uint64(n), before), 0
		for {
			seq, done := search.Next()
			if done {
				break
			}
			require.Greater(t, seq, trimmed)
			require.LessOrEqual(t, seq, uint64(n))
			if reads++; rapid.IntRange(0, 20).Draw(t, "trims") == 0 && seq <= want {
				search.Trimmed(seq)
				continue
			}
			search.Take(persistence.Event{Seq: seq, At: at[seq]})
		}
		require.Equal(t, want, search.Found())
		require.LessOrEqual(t, reads, 11)
		if want == trimmed {
			require.LessOrEqual(t, reads, 1, "nothing is of age: one look is enough")
		}
	})
}
