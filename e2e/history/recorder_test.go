package history

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRecorderKeepsWhatHappened(t *testing.T) {
	t.Parallel()
	var now time.Duration
	r := NewRecorder("r", func() time.Duration { now += time.Second; return now })
	p := r.Producer("one", false)
	p.Connected("g1")
	p.Sender("m")
	p.Ask(1)
	p.Disconnected()
	p.Connected("g2")
	p.Ask(1)
	next := r.Next()
	id, content := p.Message(1)
	n, took := p.Answer(id, Stored, 3, "")
	require.Equal(t, 1, n)
	require.Equal(t, time.Second, took)
	require.EqualValues(t, 3, (<-next).Seq)
	require.EqualValues(t, 3, r.Highest())
	require.Equal(t, 1, r.Acks())

	f := r.Follower("reader", false)
	zero := uint64(0)
	f.Joined(&zero, 0, true, 7)
	_, grown := f.Grown()
	f.Received(Entry{Seq: 3, ID: id, Sender: "m", Content: content})
	<-grown
	seq, at := f.Cursor()
	require.EqualValues(t, 3, seq)
	require.Equal(t, id, at)

	record := r.Record()
	f.Away()
	f.Joined(&seq, 3, true, 7)
	p.Disconnected()
	require.Len(t, record.Streams[0].Events, 2, "what comes later is not in it")
	require.Zero(t, record.Chains[0].Conns[1].Ended)
	require.Equal(t, []Attempt{
		{N: 1, Conn: 0, Asked: 2 * time.Second},
		{N: 1, Conn: 1, Asked: 5 * time.Second, Answered: 6 * time.Second, Outcome: Stored, Seq: 3},
	}, record.Chains[0].Attempts)
	record.Content = []*Entry{{Seq: 3, ID: id, Sender: "m", Content: content}}
	require.Empty(t, Check(record, DefaultBounds()))
}

// What is read from the history is checked like what is delivered.
func TestRecorderChecksPages(t *testing.T) {
	t.Parallel()
	r := NewRecorder("r", Since(time.Now()))
	r.Page("m", nil)
	r.Page("m", []Entry{{Seq: 3, Prev: 2}, {Seq: 5, Prev: 4}})
	found := Check(r.Record(), DefaultBounds())
	require.Condition(t, func() bool { return slices.ContainsFunc(found, func(v Violation) bool { return v.Promise == "S5" }) }, found)
}

func TestRecorderNotesNonsense(t *testing.T) {
	t.Parallel()
	r := NewRecorder("r", Since(time.Now()))
	p := r.Producer("one", false)
	p.Connected("g")
	p.Sender("m")
	p.Sender("other")
	n, _ := p.Answer("one 1", Stored, 1, "")
	require.Zero(t, n)
	r.Note("S9", "x")
	require.Len(t, r.Noted(), 3)
}

func TestRecorderIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	r := NewRecorder("r", Since(time.Now()))
	var group sync.WaitGroup
	for _, name := range []string{"a", "b", "c"} {
		group.Go(func() {
			p, f := r.Producer(name, false), r.Follower(name, false)
			p.Connected("g")
			for n := 1; n < 100; n++ {
				p.Ask(n)
				id, _ := p.Message(n)
				p.Answer(id, Refused, 0, "BUSY")
				f.Received(Entry{Seq: uint64(n)})
				_ = r.Record()
			}
		})
	}
	group.Wait()
	require.Len(t, r.Record().Chains, 3)
}
