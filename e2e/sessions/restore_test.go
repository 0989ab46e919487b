package sessions

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/parley-rt/parley/e2e/wire"
	"github.com/parley-rt/parley/sdk/go"
)

// S7: an operator puts the journal back to an earlier state, by the steps of docs/operations.md. Members who saw what is lost are
// told, whatever their cursor has to show for it, and are so even after the room has got as many messages again. sdk/go publishes
// again what it saw acknowledged, in its order; who has lost its session does not, for it would be another's message.
func TestRestoreOfAnEarlierState(t *testing.T) {
	t.Parallel()
	const room = "ledger"
	d := deploy(t)
	a, b := d.gateways[0], d.gateways[1]
	program, raw := newProgram(t, a, room), open(t, b, "", "")
	at := raw.enter(room)
	incarnation := raw.Await("room_joined", func(wire.Frame) bool { return true }).String("incarnation")
	program.say(t, "kept 1")
	program.say(t, "kept 2")
	backup := filepath.Join(t.TempDir(), "parley.dump")
	postgres(t, "pg_dump", "--schema=parley", "--format=custom", "--file="+backup, d.journal.URL())

	newcomer := newProgram(t, b, room)
	newcomer.say(t, "the newcomer's")
	raw.say(room, "a script's")
	mine := []string{"mine 1", "mine 2", "mine 3"}
	for _, content := range mine {
		program.say(t, content)
	}
	acknowledged := time.Now()
	last := program.hear(t, "mine 3")
	require.Equal(t, append([]string{"kept 1", "kept 2", "the newcomer's", "a script's"}, mine...), contiguous(t, at, last))
	newcomer.hear(t, "mine 3")
	_, at = raw.hear(t, room, at, "mine 3")
	member, stranger := program.client.MemberID(), newcomer.client.MemberID()
	raw.Close()

	d.stopAll(t)
	postgres(t, "psql", "--command=DROP SCHEMA parley CASCADE", d.journal.URL())
	postgres(t, "pg_restore", "--exit-on-error", "--dbname="+d.journal.URL(), backup)
	d.journalCommand(t, "restored", "--yes")
	d.startAll(t)

	events := program.hear(t, "mine 3")
	took := time.Since(acknowledged)
	t.Logf("what was lost is back %s after its first acknowledgement", took.Round(time.Millisecond))
	require.Less(t, took, time.Minute, "the SDK remembers a minute: this machine is too slow for the test")
	require.True(t, program.session().Resumed)
	require.Equal(t, member, program.session().MemberID)
	require.Equal(t, parley.Rewound, events[0].reset.Reason)
	require.Equal(t, mine, contiguous(t, events[0].reset.Seq, events[1:]))
	for i, e := range events[1:] {
		require.Equal(t, mine[i], e.MessageID, "the same message ids")
		require.Equal(t, member, e.Sender)
	}
	// Before or after that, as it happens to come back.
	lost := newcomer.next(t, "reset").reset
	require.NotNil(t, lost)
	require.Equal(t, parley.Rewound, lost.Reason)
	require.False(t, newcomer.session().Resumed)
	require.NotEqual(t, stranger, newcomer.session().MemberID)

	// A cursor beyond the head needs no proof.
	head := events[len(events)-1].Seq
	require.Less(t, head, at)
	raw = open(t, a, raw.token(), cursorOf(room, at))
	require.True(t, raw.session.Bool("resumed"))
	told(t, raw, incarnation, head)
	raw.Close()
	// One that is not does.
	for n := range at - head {
		head = program.say(t, fmt.Sprintf("new %d", n))
	}
	require.Equal(t, at, head)
	for _, proof := range []string{
		fmt.Sprintf(`"incarnation":%q`, incarnation), `"after_message_id":"mine 3"`,
	} {
		raw = open(t, b, raw.token(), fmt.Sprintf(`{"room_id":%q,"after_seq":"%d",%s}`, room, at, proof))
		told(t, raw, incarnation, head)
		raw.Close()
	}
	want := append(append([]string{"kept 1", "kept 2"}, mine...), "new 0", "new 1")
	raw = open(t, b, raw.token(), "")
	raw.Expect("room_joined")
	require.Equal(t, want, history(raw, room), "each once, and nothing of those who did not ask again")
	program.hear(t, "new 1")
	contiguous(t, lost.Seq, newcomer.hear(t, "new 1"))

	// Where nothing is lost, the same steps cost nothing: what is published again is recognised (S3).
	d.stopAll(t)
	d.journalCommand(t, "restored", "--yes")
	d.startAll(t)
	raw = open(t, b, raw.token(), "")
	raw.Expect("room_joined")
	program.say(t, "after all")
	events = program.hear(t, "after all")
	require.Equal(t, parley.Rewound, events[0].reset.Reason)
	require.Equal(t, []string{"after all"}, contiguous(t, events[0].reset.Seq, events[1:]))
	require.Equal(t, append(want, "after all"), history(raw, room))
}

// told requires that the room's answer is a reset to its head, and another incarnation.
func told(t *testing.T, c *resumed, incarnation string, head uint64) {
	t.Helper()
	joined := c.Expect("room_joined")
	require.False(t, joined.Bool("recovered"))
	require.NotEqual(t, incarnation, joined.String("incarnation"))
	reset := c.Expect("reset")
	require.Equal(t, "rewound", reset.String("reason"))
	require.Equal(t, head, reset.Uint("seq"))
}

func history(c *resumed, room string) []string {
	c.Sendf(`{"history":{"room_id":%q,"after_seq":"0"}}`, room)
	return pageContents(c.Expect("history_page"))
}

// stopAll stops every service in good order, all at once.
func (d *deployment) stopAll(t *testing.T) {
	t.Helper()
	var group errgroup.Group
	for _, n := range d.nodes() {
		group.Go(func() error { return n.Term(patience) })
	}
	require.NoError(t, group.Wait())
}

// postgres runs a program that comes with Postgres.
func postgres(t *testing.T, program string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(program)
	require.NoError(t, err, "install it: apt-get install -y --no-install-recommends postgresql-client")
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	require.NoError(t, err, "%s: %s", program, out)
}
