package parley

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return epoch.Add(time.Duration(seconds * float64(time.Second))) }

func newPublication(id string) *publication {
	return &publication{msg: &clientv1.Message{Target: "room", MessageId: id}, bytes: 100, done: make(chan struct{})}
}

func filled(t *testing.T, ids ...string) (*outbox, map[string]*publication) {
	t.Helper()
	o := newOutbox()
	all := map[string]*publication{}
	for _, id := range ids {
		all[id] = newPublication(id)
		require.NoError(t, o.add(all[id]))
	}
	return &o, all
}

func names(list []*publication) []string {
	out := []string{}
	for _, p := range list {
		out = append(out, p.msg.GetMessageId())
	}
	return out
}

var busy = &Error{Code: CodeBusy, Retryable: true}

func TestOutboxHoldsBehindARefusedOne(t *testing.T) {
	t.Parallel()
	o, p := filled(t, "a", "b", "c")
	require.Equal(t, []string{"a", "b", "c"}, names(o.take(at(0))))
	require.NoError(t, o.add(newPublication("d")))
	o.refuse(p["b"], busy, at(2))
	require.Empty(t, o.take(at(1)), "d waits behind b")
	o.acked(Ack{MessageID: "a", Seq: 1}, at(1))
	require.Empty(t, o.take(at(3)), "b is sent alone, so not while c is on its way")
	o.refuse(p["c"], busy, at(1))
	require.Empty(t, o.take(at(1.5)), "not before its time")
	require.Equal(t, at(2), o.wakeAt(time.Hour))
	require.Equal(t, []string{"b"}, names(o.take(at(2))))
	require.Empty(t, o.take(at(2)), "c is refused too")
	o.refuse(p["b"], busy, at(3))
	require.Equal(t, []string{"b"}, names(o.take(at(3))))
	o.acked(Ack{MessageID: "b", Seq: 2}, at(3))
	require.Equal(t, []string{"c"}, names(o.take(at(3))))
	o.reject(p["c"], &Error{Code: CodeMuted})
	require.Equal(t, []string{"d"}, names(o.take(at(3))))
	var failed *PublishError
	require.ErrorAs(t, p["c"].err, &failed)
	require.True(t, failed.MaybeStored, "its first attempt")
}

func TestOutboxSendsAgainInOrderAfterAReconnect(t *testing.T) {
	t.Parallel()
	o, p := filled(t, "a", "b", "c", "d")
	o.take(at(0))
	o.acked(Ack{MessageID: "b", Seq: 1}, at(0))
	o.refuse(p["c"], busy, at(60))
	o.disconnected()
	require.Equal(t, []string{"a"}, names(o.take(at(1))), "a comes before the suspect c, which is sent alone")
	o.acked(Ack{MessageID: "a", Seq: 2}, at(1))
	require.Equal(t, []string{"c"}, names(o.take(at(1))), "a new connection does not wait for what the old one asked")
	o.acked(Ack{MessageID: "c", Seq: 3}, at(1))
	require.Equal(t, []string{"d"}, names(o.take(at(1))))
}

func TestOutboxWindow(t *testing.T) {
	t.Parallel()
	o := newOutbox()
	for i := range window + 5 {
		require.NoError(t, o.add(newPublication(fmt.Sprint(i))))
	}
	require.Len(t, o.take(at(0)), window)
	require.True(t, o.waiting())
	require.Empty(t, o.take(at(0)))
	o.acked(Ack{MessageID: "7"}, at(0))
	require.Equal(t, []string{fmt.Sprint(window)}, names(o.take(at(0))))
}

func TestOutboxUnanswered(t *testing.T) {
	t.Parallel()
	o, _ := filled(t, "a", "b")
	o.take(at(0))
	o.acked(Ack{MessageID: "a"}, at(0))
	require.Equal(t, at(10), o.wakeAt(10*time.Second))
	o.unanswered(at(9), 10*time.Second)
	require.Empty(t, o.take(at(9)))
	o.unanswered(at(10), 10*time.Second)
	require.Equal(t, []string{"b"}, names(o.take(at(10))))
}

func TestOutboxGivesUpBeforeItCouldStoreTwice(t *testing.T) {
	t.Parallel()
	o, p := filled(t, "a", "b", "c")
	o.take(at(0))
	o.refuse(p["a"], busy, at(1))
	o.disconnected()
	require.NoError(t, o.add(newPublication("late")))
	settle := settleTime.Seconds()
	require.Equal(t, at(settle), o.wakeAt(time.Hour).Truncate(time.Second))
	require.Empty(t, names(o.take(at(settle)))[1:], "only what was never sent is left")
	for _, id := range []string{"a", "b", "c"} {
		require.ErrorIs(t, p[id].err, ErrOutcomeUnknown)
		<-p[id].done
	}
	var cause *Error
	require.ErrorAs(t, p["a"].err, &cause)
	require.Equal(t, CodeBusy, cause.Code)
}

func TestOutboxOnlySettlesWhatWasSent(t *testing.T) {
	t.Parallel()
	o, p := filled(t, "a")
	o.acked(Ack{MessageID: "a"}, at(0))
	o.acked(Ack{MessageID: "unknown"}, at(0))
	require.Equal(t, queued, p["a"].state)
	require.ErrorIs(t, o.add(newPublication("a")), ErrPending)
	o.take(at(0))
	p["a"].floor = 7
	o.seen(Ack{MessageID: "a", Seq: 7}, at(0))
	require.Equal(t, sent, p["a"].state)
	o.seen(Ack{MessageID: "a", Seq: 8}, at(0))
	require.Equal(t, finished, p["a"].state)
	require.Equal(t, uint64(8), p["a"].ack.Seq)
}

func TestOutboxRewound(t *testing.T) {
	t.Parallel()
	o, _ := filled(t, "old", "b", "a", "c")
	o.take(at(0))
	o.acked(Ack{MessageID: "old", Seq: 1}, at(0))
	o.acked(Ack{MessageID: "b", Seq: 3}, at(30)) // acks come in any order
	o.acked(Ack{MessageID: "a", Seq: 2}, at(31))
	require.NoError(t, o.add(newPublication("new")))
	o.rewound(at(62))
	require.Equal(t, []string{"a", "b", "new"}, names(o.take(at(62))), "the last minute's, by seq, before what is new")
	o.acked(Ack{MessageID: "a", Seq: 2}, at(62))
	o.rewound(at(63)) // and again: a is remembered, b and new are on their way
	require.Equal(t, []string{"a"}, names(o.take(at(63))))
	o.memberChanged()
	o.rewound(at(64))
	require.Empty(t, o.take(at(64)))
	require.Zero(t, o.inFlight)
}

func TestRecentIsBounded(t *testing.T) {
	t.Parallel()
	var r recent
	for i := range 100 {
		p := newPublication(fmt.Sprint(i))
		p.bytes = recentBytes / 10
		r.add(p, at(0))
	}
	require.LessOrEqual(t, r.bytes, recentBytes)
	require.Len(t, r.take(at(1)), 10)
	require.Zero(t, r.bytes)
}

func TestSlotsAreGivenBack(t *testing.T) {
	t.Parallel()
	o := newOutbox()
	slots := make(chan struct{}, 3)
	for i := range 3 {
		slots <- struct{}{}
		p := newPublication(fmt.Sprint(i))
		p.slots = slots
		require.NoError(t, o.add(p))
	}
	o.take(at(0))
	o.acked(Ack{MessageID: "0"}, at(0))
	require.Len(t, slots, 2)
	o.failAll(errors.New("over"))
	require.Empty(t, slots)
	require.Empty(t, o.list)
	require.Empty(t, o.byID)
}

// FuzzOutbox plays a room behind connections that break, with refusals and lost answers as the input says, and with servers
// that carry out late what a connection had sent before it broke. Whatever happens, nothing is stored twice, publishes that
// were never refused or abandoned are stored in their order (S4), an ack names the stored seq, and once the room behaves
// everything is settled.
func FuzzOutbox(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0, 1, 2, 2, 2, 1, 2, 2, 2})
	f.Add([]byte{0, 0, 1, 5, 10, 1, 10, 0, 2, 5, 26, 10, 1, 2, 2, 2})
	f.Add([]byte{0, 0, 0, 1, 3, 2, 1, 2, 5, 1, 2, 4, 2, 1, 9, 9, 2, 6, 1, 2, 2, 2})
	for seed := range uint64(300) {
		f.Add(randomOps(seed))
	}
	f.Fuzz(func(t *testing.T, ops []byte) {
		ops = ops[:min(len(ops), 500)] // longer ones only cost time
		o := newOutbox()
		now := epoch
		var all []*publication
		var wire []*publication     // sent and not yet seen by the room
		var ghosts [][]*publication // what broken connections had sent and the room has not seen
		late := map[*publication]bool{}
		stored := map[string]uint64{}
		var order []*publication
		refusedOnce := map[*publication]bool{}
		send := func() {
			held := false
			for _, p := range o.take(now) {
				require.False(t, held, "something was sent behind a suspect")
				require.Less(t, now.Sub(p.firstSent), settleTime)
				held = p.suspect
				wire = append(wire, p)
			}
			require.LessOrEqual(t, o.inFlight, window)
		}
		// receive has the room take one attempt, and answer unless the answer is lost.
		receive := func(refuse, reject, answer bool) {
			if len(wire) == 0 {
				return
			}
			p := wire[0]
			wire = wire[1:]
			id := p.msg.GetMessageId()
			seq, known := stored[id]
			switch {
			case known:
			case refuse:
				refusedOnce[p] = true
				if answer && p.state == sent {
					o.refuse(p, busy, now.Add(time.Second))
				}
				return
			case reject:
				if answer && p.state == sent {
					o.reject(p, &Error{Code: CodeMuted})
				}
				return
			default:
				seq = uint64(len(order) + 1)
				stored[id] = seq
				order = append(order, p)
			}
			if answer {
				o.acked(Ack{MessageID: id, Seq: seq, Duplicate: known}, now)
			}
		}
		for _, op := range ops {
			now = now.Add(time.Duration(op>>4) * 100 * time.Millisecond)
			switch op & 15 {
			case 0:
				p := newPublication(fmt.Sprint(len(all)))
				all = append(all, p)
				require.NoError(t, o.add(p))
			case 1:
				send()
			case 2:
				receive(false, false, true)
			case 3:
				receive(true, false, true)
			case 4:
				receive(false, false, false)
			case 5:
				o.disconnected()
				ghosts = append(ghosts, wire)
				wire = nil
			case 10:
				if len(ghosts) == 0 {
					break
				}
				which := int(op>>4) % len(ghosts)
				if len(ghosts[which]) == 0 {
					break
				}
				p := ghosts[which][0]
				ghosts[which] = ghosts[which][1:]
				if id := p.msg.GetMessageId(); stored[id] == 0 {
					stored[id] = uint64(len(order) + 1)
					order = append(order, p)
					late[p] = true
				}
			case 6:
				o.unanswered(now, 10*time.Second)
				for _, p := range all {
					if p.suspect {
						refusedOnce[p] = true // a lost answer is a refusal
					}
				}
			case 7:
				receive(false, true, true)
			case 8:
				now = now.Add(11 * time.Second)
			case 9:
				if len(o.list) > 0 {
					o.fail(o.list[len(o.list)/2], errors.New("abandoned"))
				}
			}
			inFlight := 0
			for _, p := range o.list {
				require.Same(t, p, o.byID[p.msg.GetMessageId()])
				if p.state == sent {
					inFlight++
				}
			}
			require.Equal(t, inFlight, o.inFlight)
			require.Len(t, o.byID, len(o.list))
		}
		o.disconnected()
		wire = nil
		for range 2*len(all) + 2 {
			send()
			for len(wire) > 0 {
				receive(false, false, true)
			}
		}
		require.Empty(t, o.list, "everything is settled")
		last := -1
		index := map[*publication]int{}
		for i, p := range all {
			index[p] = i
			<-p.done
			if p.err == nil {
				require.Equal(t, stored[p.msg.GetMessageId()], p.ack.Seq)
				require.NotZero(t, p.ack.Seq)
			} else if _, is := stored[p.msg.GetMessageId()]; is {
				var failed *PublishError
				require.ErrorAs(t, p.err, &failed)
				require.True(t, failed.MaybeStored)
			}
		}
		for _, p := range order {
			if !refusedOnce[p] && !(late[p] && p.err != nil) {
				require.Greater(t, index[p], last, "order of publishes that were never refused")
				last = index[p]
			}
		}
	})
}
