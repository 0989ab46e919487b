package member

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/opskit/auth"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

func (w *world) principal(grants ...string) *Principal {
	w.t.Helper()
	var list []auth.Grant
	for _, text := range grants {
		g, err := auth.ParseGrant(text)
		require.NoError(w.t, err)
		list = append(list, g)
	}
	g, err := auth.NewGrants(list)
	require.NoError(w.t, err)
	return &Principal{Member: "calm-otter", Grants: g, ExpiresAt: w.now.Add(time.Hour)}
}

// proven opens a session by a token.
func proven(t *testing.T, grants ...string) *world {
	t.Helper()
	w := newWorld(t, Config{Authenticate: true})
	w.client(`{"hello":{"token":"jwt"}}`)
	require.Equal(t, []string{"jwt"}, w.tokens)
	require.Empty(t, w.opens)
	w.core.Authenticated(w.now, w.principal(grants...), nil)
	require.Equal(t, []string{"calm-otter"}, w.members)
	w.opened()
	w.taken = len(w.replies)
	require.Equal(t, w.now.Add(time.Hour+auth.ClockSkew), w.expiry)
	return w
}

func (w *world) renew(grants ...string) {
	w.t.Helper()
	w.client(`{"id":1,"renew":{"token":"jwt"}}`)
	w.core.Authenticated(w.now, w.principal(grants...), nil)
}

// What comes while the token is looked at waits, and is carried out with the rights that it turns out to have.
func TestWhatFollowsHelloWaitsForTheProof(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{Authenticate: true})
	w.client(`{"hello":{"token":"jwt"}}`)
	w.client(`{"id":2,"join_room":{"room_id":"b"}}`)
	w.expect()
	w.core.Authenticated(w.now, w.principal("a"), nil)
	w.opened()
	w.expect("*", `{"id":2,"error":{"code":"FORBIDDEN","message":"your token does not allow join in this room","room_id":"b"}}`)
	require.Zero(t, w.window)
}

// A check that does not end closes the connection like a session store that does not answer.
func TestProofThatTakesTooLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{Authenticate: true})
	w.client(`{"hello":{"token":"jwt"}}`)
	w.pass(5 * time.Second)
	require.Equal(t, clientv1.CloseCode_CLOSE_CODE_INTERNAL, w.closed)
	w.core.Authenticated(w.now, w.principal("*"), nil)
	require.Empty(t, w.opens)
}

// A token that is renewed while a join is on its way decides what becomes of that, wherever it is.
func TestRenewalDuringAJoin(t *testing.T) {
	t.Parallel()
	t.Run("before the session is saved", func(t *testing.T) {
		t.Parallel()
		w := proven(t, "*")
		w.client(`{"id":2,"join_room":{"room_id":"a"}}`)
		w.renew("b")
		w.expect(`{"id":1,"renewed":{"expires_at":"2023-11-14T23:13:20Z"}}`)
		w.save(nil)
		require.Equal(t, "FORBIDDEN", w.expectError("FORBIDDEN", "a", "").GetCode())
		require.Empty(t, w.sent, "the room is not asked")
		require.Equal(t, []string{}, w.saved[len(w.saved)-1])
	})
	t.Run("before the room answers", func(t *testing.T) {
		t.Parallel()
		w := proven(t, "*")
		w.client(`{"id":2,"join_room":{"room_id":"a"}}`)
		w.save(nil)
		join := w.last()
		w.renew("b")
		w.expect("*")
		w.answer(join, &roomv1.Joined{Head: 7, Cursor: 7, Incarnation: 1, Epoch: 1})
		w.expectError("FORBIDDEN", "a", "")
		require.NotNil(t, w.last().frame.GetLeave(), "it is taken out again")
		require.Greater(t, w.last().frame.GetLeave().GetOperation(), join.frame.GetJoin().GetOperation())
		require.Empty(t, w.attached)
	})
}

// Who loses a room while it publishes gets the answers to what is on its way, and refusals for what is not.
func TestRenewalDuringPublishes(t *testing.T) {
	t.Parallel()
	w := proven(t, "*")
	w.join("a")
	w.client(`{"id":2,"message":{"target":"a","message_id":"m1"}}`)
	batch := w.last()
	w.client(`{"id":3,"message":{"target":"a","message_id":"m2"}}`)
	w.renew("b")
	w.expect(
		"*", `{"room_left":{"room_id":"a","reason":"forbidden","message":"your token does not allow join in this room"}}`,
		`{"id":3,"error":{"code":"NOT_JOINED","message":"join the room first","room_id":"a","message_id":"m2"}}`,
	)
	w.stored(batch, 8)
	w.expect(`{"id":2,"ack":{"target":"a","message_id":"m1","seq":"8"}}`)
}

// A renewal moves the end of the connection; one check at a time.
func TestRenewalMovesTheEnd(t *testing.T) {
	t.Parallel()
	w := proven(t, "*")
	first := w.expiry
	w.now = w.now.Add(30 * time.Minute)
	w.client(`{"id":1,"renew":{"token":"jwt"}}`)
	w.client(`{"id":2,"renew":{"token":"jwt"}}`)
	w.expectError("BUSY", "", "")
	w.core.Authenticated(w.now, w.principal("*"), nil)
	w.expect("*")
	require.Equal(t, first.Add(30*time.Minute), w.expiry)
	w.now = first
	end := w.expiry
	w.expiry = time.Time{}
	w.core.Expired(w.now) // of the first token
	require.Zero(t, w.closed)
	require.Equal(t, end, w.expiry, "who was told too early is told again: clocks are set back")
	w.now = w.expiry
	w.core.Expired(w.now)
	require.Equal(t, clientv1.CloseCode_CLOSE_CODE_TOKEN_EXPIRED, w.closed)
}

// The heap gives out who is due, in whatever order they were put in, moved and taken out.
func TestExpiriesAreInOrder(t *testing.T) {
	t.Parallel()
	var x expiries
	base := time.Unix(1_700_000_000, 0)
	r := rand.New(rand.NewPCG(1, 2))
	members := make([]*Member, 200)
	for i := range members {
		members[i] = &Member{number: uint64(i)}
	}
	for range 2000 {
		m := members[r.IntN(len(members))]
		if r.IntN(20) == 0 {
			x.remove(m)
		} else {
			x.set(m, base.Add(time.Duration(r.IntN(1000))*time.Second))
		}
		for i, p := range x.heap {
			require.Equal(t, i, p.index)
			require.Same(t, p, p.member.place.expiry)
			require.False(t, p.member.place.gone)
		}
	}
	var want []time.Time
	for _, m := range members {
		if p := m.place; p.expiry != nil {
			require.False(t, p.gone)
			want = append(want, p.expiry.at)
		}
	}
	sort.Slice(want, func(i, j int) bool { return want[i].Before(want[j]) })
	require.NotEmpty(t, want)
	for i, at := range want {
		require.Equal(t, at, x.heap[0].at, fmt.Sprint(i))
		x.remove(x.heap[0].member)
	}
	require.Empty(t, x.heap)
}
