package web

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTwoTabsTalk(t *testing.T) {
	t.Parallel()
	room := newRoom()
	a := openTab(t, "a", serverURL(t)+"/?room="+room)
	a.waitConnected()
	a.waitText("#empty", "second tab")
	a.say("first line, nobody else is here")
	a.waitDurable(1)

	b := openTab(t, "b", serverURL(t)+"/?room="+room)
	b.waitConnected()
	b.waitTexts("first line, nobody else is here")
	a.waitCount(2)
	b.waitCount(2)
	require.NotEqual(t, a.member(), b.member(), "each tab is a member of its own")
	require.Contains(t, eval[string](a, `document.getElementById("conn").textContent`), "Connected")

	b.say("hello from b")
	a.waitText("#lines", "hello from b")
	a.say("hello from a")
	for _, tab := range []*tab{a, b} {
		tab.waitDurable(3)
		tab.waitTexts("first line, nobody else is here", "hello from b", "hello from a")
	}
	require.Equal(t, a.lines(), b.lines(), "both tabs show the same seqs and senders")
	for _, line := range a.lines() {
		require.NotEmpty(t, line.Seq)
	}
}

func TestTypingIsShown(t *testing.T) {
	t.Parallel()
	room := newRoom()
	a := openTab(t, "a", serverURL(t)+"/?room="+room)
	b := openTab(t, "b", serverURL(t)+"/?room="+room)
	a.waitConnected()
	b.waitConnected()
	b.click("#text")
	eval[bool](b, `(document.getElementById("text").focus(), true)`)
	b.write("I am about to")
	a.waitText("#typing", "is typing")
	b.say(" say this")
	a.waitTexts("I am about to say this")
	a.wait(`document.getElementById("typing").textContent === ""`)
}

func TestHostileContentIsOnlyText(t *testing.T) {
	t.Parallel()
	room := newRoom()
	a := openTab(t, "a", serverURL(t)+"/?room="+room)
	b := openTab(t, "b", serverURL(t)+"/?room="+room)
	a.waitConnected()
	b.waitConnected()
	hostile := []string{
		`<img src=x onerror="window.broken = true"> <script>window.broken = true</script>`,
		`"><svg onload=alert(1)> &lt;b&gt; {{7*7}} ${7*7}`,
		"\u202eright to left override \u2066isolate",
		"שלום עולם, مرحبا بالعالم",
		"emoji 👩‍👩‍👧‍👦 🏳️‍🌈 e\u0301 " + strings.Repeat("\u0336\u0489", 30),
		"javascript:alert(1) https://example.org/a?b=<c>&d=(e). data:text/html,x",
		strings.Repeat("unbroken", 200),
		strings.Repeat("unbroken", 700),
		strings.Repeat("many words ", 4000),
	}
	for _, content := range hostile {
		a.say(content)
	}
	for i := range hostile {
		hostile[i] = strings.TrimSpace(hostile[i])
	}
	for _, tab := range []*tab{a, b} {
		tab.waitDurable(len(hostile))
		for i, line := range tab.lines() {
			require.Equal(t, hostile[i], line.Text)
		}
		require.Zero(t, eval[int](tab, `document.querySelectorAll("#lines img, #lines script, #lines b:not(.who)").length`))
		require.False(t, eval[bool](tab, `"broken" in window`))
		require.Equal(t, []string{"https://example.org/a?b="}, eval[[]string](tab, `[...document.querySelectorAll("#lines a")].map((a) => a.href)`))
		for _, width := range []int64{320, 1100} {
			tab.resize(width, 640)
			tab.wait(fmt.Sprintf("innerWidth === %d", width))
			require.LessOrEqual(t, eval[int64](tab, `Math.max(document.documentElement.scrollWidth, document.getElementById("scroll").scrollWidth)`), width, "nothing is wider than the screen")
		}
	}
}

func TestHistoryIsReadPageByPage(t *testing.T) {
	t.Parallel()
	room := newRoom()
	a := openTab(t, "a", serverURL(t)+"/?room="+room)
	a.waitConnected()
	var said []string
	for i := range 120 {
		said = append(said, fmt.Sprintf("line %03d", i))
		a.say(said[i])
	}
	a.waitDurable(len(said))

	b := openTab(t, "b", serverURL(t)+"/?room="+room)
	b.waitTexts(said[70:]...)

	// What is being read stays where it is while older lines come in above it, and new ones below.
	require.True(t, eval[bool](b, `(document.getElementById("scroll").scrollTop = 0, true)`))
	b.wait(`document.querySelectorAll("[data-line]").length >= 100`)
	b.waitText("#jump", "↓")
	a.say("a new one")
	b.waitText("#jump", "1 new message")
	b.click("#older")
	b.waitTexts(append(said, "a new one")...)
	b.waitText("#start", "begins")
	b.click("#jump")
	b.wait(`document.getElementById("jump").hidden`)
}

func TestRoomsAreSwitched(t *testing.T) {
	t.Parallel()
	one, two := newRoom(), newRoom()
	a := openTab(t, "a", serverURL(t)+"/?room="+one)
	a.waitConnected()
	a.say("in the first room")
	a.waitDurable(1)

	switchTo := func(room string) {
		require.True(t, eval[bool](a, fmt.Sprintf(`(document.getElementById("room").value = %s, document.getElementById("switch").requestSubmit(), true)`, quote(room))))
	}
	switchTo(two)
	a.waitText("#empty", "quiet")
	require.Contains(t, eval[string](a, "location.search"), two)
	a.waitCount(1)
	a.say("in the second room")
	a.waitTexts("in the second room")

	require.True(t, eval[bool](a, "(history.back(), true)"))
	a.waitTexts("in the first room")
	require.Equal(t, one, eval[string](a, `document.getElementById("room").value`))
	a.waitCount(1)

	b := openTab(t, "b", serverURL(t)+"/?room="+two)
	b.waitTexts("in the second room")
	b.waitCount(1) // a has left
}

func TestReloadKeepsSessionAndLines(t *testing.T) {
	t.Parallel()
	room := newRoom()
	a := openTab(t, "a", serverURL(t)+"/?room="+room)
	a.waitConnected()
	a.say("before")
	a.waitDurable(1)
	member, before := a.member(), a.lines()
	a.open(serverURL(t) + "/?room=" + room)
	a.waitConnected()
	a.waitDurable(1)
	require.Equal(t, before, a.lines())
	require.Equal(t, member, a.member())
	a.say("after")
	a.waitTexts("before", "after")
}

func TestDrawerShowsFrames(t *testing.T) {
	t.Parallel()
	a := openTab(t, "a", serverURL(t)+"/?room="+newRoom())
	a.waitConnected()
	a.say("on the wire")
	a.waitDurable(1)
	a.click("#wire-button")
	for _, kind := range []string{"hello", "session", "room_joined", "message", "ack"} {
		a.waitFor(fmt.Sprintf("[data-frame=%s]", kind))
	}
	token := eval[string](a, `JSON.parse(sessionStorage.getItem("parley:session")).token`)
	require.NotContains(t, eval[string](a, `document.getElementById("frames").textContent`), token, "screens are shared")
}
