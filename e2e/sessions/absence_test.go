package sessions

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
	"github.com/parley-rt/parley/e2e/wire"
	"github.com/parley-rt/parley/sdk/go"
)

// S1, S2, S3, S5: clients are away for so long that nothing is left of what knew them but the journal. Every process has been
// replaced, some twice, their room has run on several nodes and on none in the end, and has more new messages than any memory
// of it holds. They resume at another gateway and get every message they missed, once, in order; where the limit of replays is
// below that, the documented reset instead, and the rest from history.
func TestResumeAfterEverythingWasReplaced(t *testing.T) {
	t.Parallel()
	const (
		room   = "archive"
		missed = 20_500
		most   = "PARLEY_SESSION_REPLAY_LIMIT=25000"
	)
	d := deploy(t, most)
	a, b := d.gateways[0], d.gateways[1]
	raw, limited := open(t, a, "", ""), open(t, a, "", "")
	head := raw.enter(room)
	limited.enter(room)
	program := newProgram(t, a, room)
	program.say(t, "seen")
	program.hear(t, "seen")
	_, cursor := raw.hear(t, room, head, "seen")
	member := program.client.MemberID()
	raw.Close()
	limited.Close()
	program.cable.pull()

	began := time.Now()
	contents := write(t, b, room, 0, missed/2)
	for _, n := range []*harness.Node{d.rooms[0], a} { // in good order
		require.NoError(t, n.Term(patience))
		n.Start()
		ready(t, n)
	}
	d.owner(t, room).Kill9()
	for _, n := range d.rooms {
		if running, _ := n.Running(); !running {
			n.Start()
			ready(t, n)
		}
	}
	contents = append(contents, write(t, a, room, missed/2, missed)...)
	for _, n := range d.nodes() {
		n.Kill9()
	}
	b.Start()
	a.StartWith("PARLEY_SESSION_REPLAY_LIMIT=20000")
	for _, n := range d.rooms {
		n.Start()
	}
	for _, n := range d.nodes() {
		ready(t, n)
	}
	t.Logf("%d messages missed, everything replaced, in %s", missed, time.Since(began).Round(time.Millisecond))

	began = time.Now()
	back := open(t, b, raw.token(), cursorOf(room, cursor))
	require.True(t, back.session.Bool("resumed"))
	require.Equal(t, raw.member(), back.member())
	require.True(t, back.Expect("room_joined").Bool("recovered"))
	at := cursor
	var got, some []string
	for n := 500; n <= missed; n += 500 { // each wait has its own patience
		some, at = back.hear(t, room, at, contents[n-1])
		got = append(got, some...)
	}
	same(t, contents, got)
	t.Logf("replayed to a client of JSON in %s", time.Since(began).Round(time.Millisecond))

	began = time.Now()
	program.cable.plug(b)
	same(t, contents, contiguous(t, cursor, program.hear(t, contents[missed-1])))
	require.True(t, program.session().Resumed)
	require.Equal(t, member, program.session().MemberID)
	require.Equal(t, []string{room}, program.session().Rooms)
	t.Logf("replayed to sdk/go in %s", time.Since(began).Round(time.Millisecond))

	// The limit of this gateway is below what was missed.
	short := open(t, a, limited.token(), cursorOf(room, cursor))
	require.True(t, short.session.Bool("resumed"))
	require.False(t, short.Expect("room_joined").Bool("recovered"))
	reset := short.Expect("reset")
	require.Equal(t, "replay_limit", reset.String("reason"))
	require.Equal(t, at, reset.Uint("seq"), "the head")
	live := back.say(room, "live")
	heard, _ := short.hear(t, room, at, "live")
	require.Equal(t, []string{"live"}, heard)
	got = nil // history has what was not replayed
	for after := cursor; after < live; {
		short.Sendf(`{"history":{"room_id":%q,"after_seq":"%d","limit":500}}`, room, after)
		page := short.Expect("history_page")
		got = append(got, pageContents(page)...)
		after = lastSeq(t, page)
	}
	same(t, append(contents, "live"), got)
}

// same is require.Equal for what is too long to be printed.
func same(t *testing.T, want, got []string) {
	t.Helper()
	for i := range min(len(want), len(got)) {
		require.Equal(t, want[i], got[i], "at %d", i)
	}
	require.Equal(t, len(want), len(got))
}

// write has a program at a gateway publish messages from..to, and returns them.
func write(t *testing.T, g *harness.Node, room string, from, to int) (contents []string) {
	t.Helper()
	p := newProgram(t, g, room)
	var pending []*parley.Pending
	for n := from; n < to; n++ {
		contents = append(contents, fmt.Sprintf("missed %d", n))
		one, err := p.room.PublishAsync(t.Context(), contents[n-from], parley.PublishOptions{})
		require.NoError(t, err)
		pending = append(pending, one)
	}
	for _, one := range pending {
		_, err := one.Wait()
		require.NoError(t, err, "S1")
	}
	p.cable.pull()
	return contents
}

func lastSeq(t *testing.T, page wire.Frame) (seq uint64) {
	t.Helper()
	messages, _ := page.Body["messages"].([]any)
	require.NotEmpty(t, messages)
	last, _ := messages[len(messages)-1].(map[string]any)
	_, err := fmt.Sscan(last["seq"].(string), &seq)
	require.NoError(t, err)
	return seq
}
