package sessions

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
	"github.com/parley-rt/parley/e2e/wire"
	"github.com/parley-rt/parley/sdk/go"
)

// S5: what clients missed while they were away is past the room's retention when they come back at another gateway, which itself
// still heard it. They get a reset to the last message that is gone, and from there on a contiguous stream; so does who uses
// sdk/go. It makes no difference where the room runs by then.
func TestTrimmedWhileAway(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	old := beginAway(t, d, "old")
	d.set(t, old.room, "--retention-age", "1m")
	old.loses(t)
	said := time.Now()

	for name, meanwhile := range map[string]func(t *testing.T, room string){
		"stays":  func(*testing.T, string) {},
		"moved":  func(t *testing.T, room string) { t.Helper(); moved(t, d, room) },
		"killed": func(t *testing.T, room string) { t.Helper(); killed(t, d, room) },
	} {
		t.Run(name, func(t *testing.T) {
			a := beginAway(t, d, name)
			d.set(t, a.room, "--retention-count", "3") // seqs, so the next three after those that go
			a.loses(t)
			a.says(t)
			meanwhile(t, a.room)
			a.returns(t)
		})
	}

	old.gone(t)
	t.Logf("a minute's retention: gone %s after the newest was said", time.Since(said).Round(time.Millisecond))
	d.set(t, old.room, "--retention-age", "1h") // what is gone stays gone
	moved(t, d, old.room)
	old.says(t)
	old.returns(t)
}

// S5: the operator drops old events from the journal, as docs/operations.md tells it. Who was away since then gets the same reset.
func TestDroppedWhileAway(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	a := beginAway(t, d, "attic")
	a.loses(t)
	d.journalCommand(t, "rotate")
	a.says(t)
	a.writer.Close()
	d.stopAll(t) // rooms save snapshots; and no memory has what is dropped
	d.journalCommand(t, "drop", "--up-to", "0", "--yes")
	d.startAll(t)
	a.writer = open(t, d.gateways[1], a.writer.token(), "")
	a.writer.Expect("room_joined")
	a.returns(t)
}

// journalCommand runs a command for operators on the journal.
func (d *deployment) journalCommand(t *testing.T, args ...string) {
	t.Helper()
	args = append(append([]string{"journal"}, args...), "--journal", d.journal.URL())
	out, err := exec.CommandContext(t.Context(), harness.Build(t), args...).CombinedOutput()
	require.NoError(t, err, "parley %s: %s", strings.Join(args, " "), out)
	t.Logf("parley journal %s: %s", args[1], out)
}

// away is a room, and two clients who have heard some of it and left their gateway.
type away struct {
	d       *deployment
	room    string
	raw     *resumed
	cursor  uint64
	program *program
	writer  *resumed
	// trimmed is the seq of the last message that is gone.
	trimmed uint64
}

var (
	lost = []string{"lost 1", "lost 2", "lost 3", "lost 4"}
	kept = []string{"kept 1", "kept 2", "kept 3"}
)

func beginAway(t *testing.T, d *deployment, room string) *away {
	t.Helper()
	a := &away{d: d, room: room, raw: open(t, d.gateways[0], "", ""), writer: open(t, d.gateways[1], "", "")}
	at := a.raw.enter(room)
	a.writer.enter(room)
	a.program = newProgram(t, d.gateways[0], room)
	a.writer.say(room, "heard")
	_, a.cursor = a.raw.hear(t, room, at, "heard")
	a.program.hear(t, "heard")
	a.raw.Close()
	a.program.cable.pull()
	return a
}

// loses publishes what will be gone.
func (a *away) loses(t *testing.T) {
	t.Helper()
	for _, content := range lost {
		a.trimmed = a.writer.say(a.room, content)
	}
}

// says publishes what will be there.
func (a *away) says(t *testing.T) {
	t.Helper()
	for _, content := range kept {
		a.writer.say(a.room, content)
	}
}

// gone waits until history has nothing.
func (a *away) gone(t *testing.T) {
	t.Helper()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); len(a.history(t)) > 0; <-ticker.C {
		require.True(t, time.Now().Before(deadline), "history still has %v", a.history(t))
	}
}

// history is what a member can read.
func (a *away) history(t *testing.T) (contents []string) {
	t.Helper()
	a.writer.Sendf(`{"history":{"room_id":%q,"after_seq":"0"}}`, a.room)
	return pageContents(a.writer.Expect("history_page"))
}

func pageContents(page wire.Frame) (contents []string) {
	messages, _ := page.Body["messages"].([]any)
	for _, m := range messages {
		body, _ := m.(map[string]any)
		content, _ := body["content"].(string)
		contents = append(contents, content)
	}
	return contents
}

// returns has both clients come back, at the other gateway.
func (a *away) returns(t *testing.T) {
	t.Helper()
	back := open(t, a.d.gateways[1], a.raw.token(), cursorOf(a.room, a.cursor))
	require.True(t, back.session.Bool("resumed"))
	require.False(t, back.Expect("room_joined").Bool("recovered"))
	reset := back.Expect("reset")
	require.Equal(t, "trimmed", reset.String("reason"))
	require.Equal(t, a.trimmed, reset.Uint("seq"))
	contents, cursor := back.hear(t, a.room, reset.Uint("seq"), kept[len(kept)-1])
	require.Equal(t, kept, contents)
	require.Equal(t, kept, a.history(t))

	a.program.cable.plug(a.d.gateways[1])
	events := a.program.hear(t, kept[len(kept)-1])
	require.Equal(t, &parley.ResetError{RoomID: a.room, Seq: a.trimmed, Reason: parley.Trimmed}, events[0].reset)
	require.Equal(t, kept, contiguous(t, a.trimmed, events[1:]))

	// And on they go, as if nothing had been; with the cursor of after the reset there is none.
	a.writer.say(a.room, "live")
	contents, _ = back.hear(t, a.room, cursor, "live")
	require.Equal(t, []string{"live"}, contents)
	require.Equal(t, contents, contiguous(t, cursor, a.program.hear(t, "live")))
	back.Close()
	again := open(t, a.d.gateways[0], back.token(), cursorOf(a.room, cursor))
	require.True(t, again.Expect("room_joined").Bool("recovered"))
	contents, _ = again.hear(t, a.room, cursor, "live")
	require.Equal(t, []string{"live"}, contents)
	again.Close()
	for _, f := range append(back.Frames(), again.Frames()...) {
		require.NotContains(t, f.Text, "lost ") // with the space, which no token has
	}
}

// set changes the room's settings by the command line.
func (d *deployment) set(t *testing.T, room string, flags ...string) {
	t.Helper()
	d.parley(t, append([]string{"room", "set", room}, flags...)...)
}

// parley runs a command about rooms and returns what it printed.
func (d *deployment) parley(t *testing.T, args ...string) string {
	t.Helper()
	api := ""
	for _, n := range d.rooms {
		if running, _ := n.Running(); running {
			api = n.URL()
		}
	}
	cmd := exec.CommandContext(t.Context(), harness.Build(t), append(args, "--api", api, "--timeout", "1m")...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "parley %s: %s", strings.Join(args, " "), out)
	return string(out)
}

// owner is the node that runs a room.
func (d *deployment) owner(t *testing.T, room string) *harness.Node {
	t.Helper()
	var shown struct {
		Node string `json:"node"`
	}
	said := d.parley(t, "room", "show", room, "--json")
	require.NoError(t, json.Unmarshal([]byte(said), &shown), said)
	for _, n := range d.rooms {
		if n.Name == shown.Node {
			return n
		}
	}
	require.FailNow(t, "the room runs nowhere", said)
	return nil
}

// moved restarts the node that runs the room in good order, so that another node does when it returns.
func moved(t *testing.T, d *deployment, room string) {
	t.Helper()
	n := d.owner(t, room)
	require.NoError(t, n.Term(patience))
	require.NotEqual(t, n.Name, d.owner(t, room).Name)
	n.Start()
	ready(t, n)
}

// killed kills the node that runs the room, which returns; another node runs the room by then.
func killed(t *testing.T, d *deployment, room string) {
	t.Helper()
	n := d.owner(t, room)
	n.Kill9()
	require.NotEqual(t, n.Name, d.owner(t, room).Name)
	n.Start()
	ready(t, n)
}
