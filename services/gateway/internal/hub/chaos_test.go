package hub

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/protocol/codec"
	"github.com/parley-rt/parley/services/gateway/internal/ws"
)

// S5, L2: under any order of deliveries, pages, losses, takeovers, subscriptions, slow readers, joins and leaves, every
// connection's stream is contiguous, and once things calm down everybody has everything. S8: nobody gets a message from after
// it was taken out, and everybody who was taken out is told in the end.
func FuzzTopic(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16})
	f.Fuzz(func(t *testing.T, data []byte) { runTopic(t, data) })
}

func TestTopicUnderChaos(t *testing.T) {
	t.Parallel()
	for seed := range uint64(chaosRuns) {
		r := rand.New(rand.NewPCG(seed, 2))
		data := make([]byte, 50+r.IntN(1500))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runTopic(t, data) })
	}
}

const chaosRuns = 1000

func runTopic(t *testing.T, data []byte) {
	backlog := ws.NewBacklog(0)
	if len(data)%2 == 0 { // pages that wait are soon too many
		backlog = ws.NewBacklog(400)
	}
	m := newModel(t, Config{PageMessages: 4, RingMessages: 6, RingBytes: 2000, TopicReads: 2, Backlog: backlog})
	next := func(n int) int {
		if len(data) == 0 {
			return 0
		}
		v := int(data[0]) % n
		data = data[1:]
		return v
	}
	for len(data) > 0 {
		node := m.nodes[next(2)]
		switch next(26) {
		case 0, 1, 2:
			m.publish(1 + next(9)) // also more than any outbox here takes
		case 3:
			m.head++ // an event that is not a message
		case 4, 5, 6, 7:
			m.serve(node)
		case 8, 9, 10, 11, 12:
			m.deliver(node)
		case 13:
			m.lose(node)
		case 14:
			if next(2) == 0 {
				m.linkDown(node)
			}
		case 15:
			m.linkUp(node)
		case 16:
			if next(2) == 0 {
				m.takeover()
			}
		case 17:
			m.learn()
		case 18:
			if len(m.sinks) < 12 {
				var cursor *uint64
				if next(3) > 0 {
					cursor = ptr(uint64(next(int(min(m.head, 100)) + 1)))
				}
				var c codec.Codec = codec.JSON{}
				if next(4) == 0 {
					c = codec.Binary{}
				}
				s := m.sink(fmt.Sprintf("member-%d", next(5)), c, 1+next(5))
				s.gone = true
				attach := m.join(s, cursor)
				if next(3) == 0 {
					m.late = append(m.late, attach)
				} else {
					attach()
				}
			}
		case 19:
			if len(m.sinks) > 0 {
				s := m.sinks[next(len(m.sinks))]
				if !s.gone && next(2) == 0 {
					m.topic.Detach(m.now, s, nil)
					s.gone = true
				} else if !s.gone {
					m.join(s, ptr(uint64(next(int(min(m.head, 100))+1))))()
				}
			}
		case 20, 21:
			if len(m.sinks) > 0 {
				m.sinks[next(len(m.sinks))].read()
			}
		case 22:
			m.tick(time.Duration(1+next(25)) * 100 * time.Millisecond)
			m.topic.CanRead(m.now)
		case 23:
			switch next(8) {
			case 0:
				if m.trimmed < m.head {
					m.trimmed += uint64(next(int(m.head-m.trimmed) + 1))
				}
			case 1:
				if next(3) == 0 {
					m.loseTail(next(5))
				}
			default:
				m.compare()
			}
		case 24:
			for range 1 + next(3) {
				m.remove(fmt.Sprintf("member-%d", next(5)))
			}
		case 25:
			if len(m.late) > 0 {
				m.late[0]()
				m.late = m.late[1:]
			}
		}
		require.LessOrEqual(t, m.reads, 2)
	}
	m.settle()
	for i, s := range m.sinks {
		require.Equal(t, s.evicted, s.told)
		if !s.gone {
			require.Zero(t, m.out(s.member, m.removals).seq, "connection %d of %s is still here", i, s.member)
			require.GreaterOrEqual(t, s.cursor, m.last(), "connection %d does not reach the head", i)
			s.agrees()
		}
	}
	for _, s := range m.sinks {
		if !s.gone {
			m.topic.Detach(m.now, s, nil)
			s.gone = true
		}
	}
	m.publish(1)
	m.settle()
	require.False(t, m.topic.reads.busy())
	require.Equal(t, 2, m.reads, "a place for a page leaks")
	require.Zero(t, backlog.Bytes(), "a page that waits leaks")
	require.Zero(t, m.topic.online.Len())
}
