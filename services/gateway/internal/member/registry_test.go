package member

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

func TestRegistryKeepsTheNewestConnectionOfASession(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	r := s.d.Registry
	id := newSessionID()
	first, second := s.connect(), s.connect()
	e1, e2 := &first.Member, &second.Member
	require.True(t, r.claim(id, 2, "", e2))
	require.False(t, r.claim(id, 1, "", e1), "the older one came late")
	require.True(t, r.claim(id, 3, "", e1))
	second.socket.wait(t)
	require.Equal(t, clientv1.CloseCode_CLOSE_CODE_SESSION_REPLACED, second.socket.code)
	r.release(id, e2)
	require.Equal(t, []persistence.HeldSession{{ID: id, Generation: 3}}, r.held())
	r.release(id, e1)
	require.Empty(t, r.held())
}

// What the store says of a session counts only for the connection that it was asked about.
func TestRegistryLosesSessions(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	r := s.d.Registry
	id := newSessionID()
	for _, test := range []struct {
		asked, now uint64
		code       clientv1.CloseCode
	}{
		{4, 5, clientv1.CloseCode_CLOSE_CODE_SESSION_REPLACED},
		{4, 0, clientv1.CloseCode_CLOSE_CODE_INTERNAL},
		{3, 5, 0}, // replaced here meanwhile
		{3, 0, 0},
		{4, 3, 0}, // an answer from before this connection's own resume
	} {
		c := s.connect()
		e := &c.Member
		require.True(t, r.claim(id, 4, "", e))
		r.lose([]persistence.HeldSession{{ID: id, Generation: test.asked}}, []persistence.HeldSession{{ID: id, Generation: test.now}})
		r.lose(nil, nil)
		r.lose(nil, []persistence.HeldSession{{ID: newSessionID()}})
		if test.code != 0 {
			c.socket.wait(t)
		} else {
			c.send(`{"ping":{}}`)
			require.NotNil(t, c.socket.wait(t).GetSession())
		}
		require.Equal(t, test.code, c.socket.code, "%+v", test)
		r.release(id, e)
	}
}

func TestRegistryWakes(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	c := s.connect()
	r := NewRegistry()
	e := &c.Member
	require.True(t, r.add(e))
	now := time.Now()
	r.wake(e, now.Add(time.Second))
	r.wake(e, now.Add(2*time.Second)) // later than what is due: nothing
	require.Equal(t, now.Add(time.Second), e.place.due)
	r.Tick(now)
	require.NotZero(t, e.place.due)
	r.Tick(now.Add(time.Second))
	require.Zero(t, e.place.due)
	r.remove(e)
	r.wake(e, now)
	require.Zero(t, e.place.due, "who is gone is not woken")
	r.Answer(e.number, "rooms-1", actorkit.Frame{})
}
