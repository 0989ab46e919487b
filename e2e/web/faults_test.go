package web

import (
	_ "embed"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

// startFake serves the built binary's page with a scripted gateway behind it, and returns the page's address.
func startFake(t *testing.T) (*fake, string) {
	t.Helper()
	pages, err := url.Parse(serverURL(t))
	require.NoError(t, err)
	f := newFake()
	mux := http.NewServeMux()
	mux.Handle("/ws", f)
	mux.Handle("/", httputil.NewSingleHostReverseProxy(pages))
	s := httptest.NewServer(mux)
	t.Cleanup(func() {
		f.do(func() {
			f.down = true
			f.cut(websocket.StatusGoingAway)
		})
		s.Close()
	})
	return f, s.URL + "/?room=lobby"
}

// await waits until the fake's state is so; the check runs whenever something arrived.
func (f *fake) await(t *testing.T, what string, check func() bool) {
	t.Helper()
	var late atomic.Bool
	timer := time.AfterFunc(patience, func() {
		late.Store(true)
		f.arrived.Broadcast()
	})
	defer timer.Stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	for !check() {
		require.False(t, late.Load(), "the fake waits for: %s", what)
		f.arrived.Wait()
	}
}

// once gives the verdict to the first publish with this content, and none to the others.
func once(content string, v verdict) func(*clientv1.Message) verdict {
	var done bool
	return func(m *clientv1.Message) verdict {
		if done || m.GetContent() != content {
			return verdict{}
		}
		done = true
		return v
	}
}

// stored returns the contents of the lobby, in order.
func (f *fake) stored() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var contents []string
	for _, m := range f.room("lobby").messages {
		contents = append(contents, m.GetContent())
	}
	return contents
}

// attempts returns the ids that publishes with this content carried.
func (f *fake) attempts(content string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []string
	for _, m := range f.got {
		if m.GetContent() == content {
			ids = append(ids, m.GetMessageId())
		}
	}
	return ids
}

func (f *fake) closeAll(code websocket.StatusCode) { f.do(func() { f.cut(code) }) }

func TestUnansweredPublishIsSentAgainWithItsID(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]verdict{"stored but the answer was lost": {lose: true}, "lost on its way": {drop: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, url := startFake(t)
			f.publishing = once("one", v)
			a := openTab(t, "a", url)
			a.waitConnected()
			member := a.member()
			a.say("one")
			a.say("two")
			a.waitTexts("one", "two")
			a.waitDurable(2)
			require.Equal(t, []string{"one", "two"}, f.stored())
			require.Equal(t, member, a.member())
			ids := f.attempts("one")
			require.NotEmpty(t, ids)
			for _, id := range ids {
				require.Equal(t, ids[0], id)
			}
		})
	}
}

func TestRetryableRefusalHoldsLaterMessages(t *testing.T) {
	t.Parallel()
	f, url := startFake(t)
	refusals := 0
	f.publishing = func(m *clientv1.Message) verdict {
		if m.GetContent() != "first" || refusals >= 3 {
			return verdict{}
		}
		refusals++
		return verdict{refuse: &clientv1.Error{Code: "BUSY", Message: "full", Retryable: true, RetryAfterMs: 300}}
	}
	a := openTab(t, "a", url)
	a.waitConnected()
	a.say("first")
	a.waitText(".fault", "BUSY: full; trying again")
	a.say("second")
	a.say("third")
	a.waitTexts("first", "second", "third")
	a.waitDurable(3)
	require.Equal(t, []string{"first", "second", "third"}, f.stored())
	require.Len(t, f.attempts("first"), 4)
	require.Len(t, f.attempts("second"), 1, "held, not refused")
}

func TestFinalRefusalIsShownAndCanBeEdited(t *testing.T) {
	t.Parallel()
	f, url := startFake(t)
	f.publishing = once("something rude", verdict{refuse: &clientv1.Error{Code: "MUTED", Message: "until noon"}})
	a := openTab(t, "a", url)
	a.waitConnected()
	a.say("something rude")
	a.waitText("[data-state=refused] [data-fault=MUTED]", "MUTED: until noon")
	a.say("something else")
	a.waitText("[data-state=durable]", "something else")
	require.Zero(t, eval[int](a, `document.querySelectorAll("[data-retry]").length`), "trying again would not help")
	a.click("[data-discard]")
	a.wait(`document.getElementById("text").value === "something rude"`)
	a.waitTexts("something else")
	a.say(", reworded")
	a.waitTexts("something else", "something rude, reworded")
}

func TestTooLargeIsRefusedBeforeItIsSent(t *testing.T) {
	t.Parallel()
	f, url := startFake(t)
	a := openTab(t, "a", url)
	a.waitConnected()
	big := fmt.Sprintf("%030000d", 0)
	require.True(t, eval[bool](a, `(document.getElementById("text").value = "€".repeat(30000), true)`))
	a.say("!")
	a.waitText("[data-fault=TOO_LARGE]", "64 KiB")
	a.say(big)
	a.waitText("[data-state=durable]", big)
	require.Len(t, f.got, 1)
}

func TestNewMemberDoesNotRepeatBlindly(t *testing.T) {
	t.Parallel()
	f, url := startFake(t)
	f.publishing = func(m *clientv1.Message) verdict {
		switch {
		case len(f.room("lobby").messages) > 0:
			return verdict{}
		case m.GetContent() == "stored":
			// The session ends with the server: what follows is resumed as somebody else.
			f.sessions = map[string]*fakeSession{}
			return verdict{lose: true}
		}
		return verdict{mute: true}
	}
	a := openTab(t, "a", url)
	a.waitConnected()
	member := a.member()
	a.say("never stored")
	a.waitFor("[data-state=sending]")
	f.await(t, "the first publish", func() bool { return len(f.got) == 1 })
	a.say("stored")
	a.waitText("[data-state=unknown]", "Outcome unknown")
	a.waitText("[data-state=durable]", "stored")
	require.NotEqual(t, member, a.member())
	require.Equal(t, []string{"stored"}, f.stored(), "nothing was repeated as the new member")

	a.click("[data-state=unknown] [data-retry]")
	a.waitTexts("stored", "never stored")
	a.waitDurable(2)
	require.Equal(t, []string{"stored", "never stored"}, f.stored())
	require.Len(t, f.attempts("never stored"), 2)
}

func TestUntriedMessagesGoOutAsTheNewMember(t *testing.T) {
	t.Parallel()
	f, url := startFake(t)
	a := openTab(t, "a", url)
	a.waitConnected()
	f.do(func() {
		f.down = true
		f.sessions = map[string]*fakeSession{}
		f.cut(closeWithoutFrame)
	})
	a.waitFor("[data-conn=waiting]")
	a.say("written while nobody listens")
	f.do(func() { f.down = false })
	a.waitDurable(1)
}

func TestRewoundRoomIsRepaired(t *testing.T) {
	t.Parallel()
	f, url := startFake(t)
	f.do(func() { f.say("lobby", "somebody", "long ago") })
	a := openTab(t, "a", url)
	a.waitConnected()
	for _, text := range []string{"one", "two", "three"} {
		a.say(text)
	}
	a.waitDurable(4)
	f.do(func() {
		f.rewind("lobby", 2)
		f.cut(closeWithoutFrame)
	})
	a.waitText("[data-reset=rewound]", "reset: rewound")
	a.waitDurable(4)
	a.waitTexts("long ago", "one", "two", "three")
	require.Equal(t, []string{"long ago", "one", "two", "three"}, f.stored())
	require.Len(t, f.attempts("three"), 2)
	require.Equal(t, f.attempts("three")[0], f.attempts("three")[1], "the same id: had it survived it would not be doubled")
}

func TestTrimmedRoomShowsWhere(t *testing.T) {
	t.Parallel()
	f, url := startFake(t)
	f.do(func() { f.say("lobby", "somebody", "kept on the screen") })
	a := openTab(t, "a", url)
	a.waitTexts("kept on the screen")
	f.do(func() {
		f.down = true
		f.cut(closeWithoutFrame)
		for i := range 9 {
			f.say("lobby", "somebody", fmt.Sprintf("missed %d", i))
		}
		f.room("lobby").trimmed = 8
		f.down = false
	})
	a.waitTexts("kept on the screen", "missed 7", "missed 8")
	a.wait(`document.querySelector("[data-reset=trimmed]").nextSibling.textContent.includes("missed 7")`)
}

func TestGapIsFilled(t *testing.T) {
	t.Parallel()
	f, url := startFake(t)
	a := openTab(t, "a", url)
	a.waitConnected()
	f.do(func() {
		f.say("lobby", "somebody", "one")
		f.skip = 2
		f.say("lobby", "somebody", "two")
		f.say("lobby", "somebody", "three")
		f.say("lobby", "somebody", "four")
	})
	a.waitTexts("one", "two", "three", "four")
}

func TestReconnectFrameIsFollowed(t *testing.T) {
	t.Parallel()
	f, url := startFake(t)
	a := openTab(t, "a", url)
	a.waitConnected()
	member := a.member()
	var old *fakeConn
	f.do(func() {
		for old = range f.conns {
			old.send(&clientv1.Envelope{Kind: &clientv1.Envelope_Reconnect{Reconnect: &clientv1.Reconnect{AfterMs: 50, Reason: "DRAIN"}}})
		}
	})
	f.await(t, "another connection", func() bool { return len(f.conns) == 1 && !f.conns[old] })
	a.waitConnected()
	a.say("on the new connection")
	a.waitDurable(1)
	require.Equal(t, member, a.member())
}

func TestCloseCodes(t *testing.T) {
	t.Parallel()
	f, url := startFake(t)
	a := openTab(t, "a", url)
	a.waitConnected()
	member := a.member()

	f.closeAll(4001)
	f.await(t, "the tab to come back", func() bool { return len(f.conns) == 1 && f.opened > 1 })
	a.waitConnected()
	require.Equal(t, member, a.member())

	f.closeAll(4504)
	a.waitFor("[data-conn=closed]")
	a.waitText("#banner", "another tab")
	a.say("kept until there is a session")
	a.waitFor("[data-state=sending]")
	a.click("#banner button")
	a.waitConnected()
	a.waitDurable(1)
	require.NotEqual(t, member, a.member())

	// A session that is refused is given up once; a refusal without one is final.
	f.do(func() {
		f.helloCode = 4500
		f.cut(closeWithoutFrame)
	})
	a.waitConnected()
	a.say("with a fresh session")
	a.waitDurable(2)

	f.closeAll(4503)
	a.waitText("#banner", "banned")
}

func TestSecondTabOfASessionBecomesAMemberOfItsOwn(t *testing.T) {
	t.Parallel()
	_, url := startFake(t)
	a := openTab(t, "a", url)
	a.waitConnected()
	memory := eval[string](a, "JSON.stringify({ ...sessionStorage })")
	b := openTab(t, "b", url)
	b.waitConnected()
	require.True(t, eval[bool](b, fmt.Sprintf("(Object.assign(sessionStorage, JSON.parse(%s)), true)", quote(memory))))
	b.open(url)
	b.waitConnected()
	require.NotEqual(t, a.member(), b.member())
	a.waitConnected()
	a.say("still here")
	b.waitTexts("still here")
}

func TestPendingMessagesSurviveAReload(t *testing.T) {
	t.Parallel()
	f, url := startFake(t)
	f.publishing = once("one", verdict{lose: true})
	a := openTab(t, "a", url)
	a.waitConnected()
	f.do(func() {
		f.down = true
		f.cut(closeWithoutFrame)
	})
	a.waitFor("[data-conn=waiting]")
	a.say("one")
	a.say("two")
	a.open(url)
	a.waitTexts("one", "two")
	a.open(url)
	f.do(func() { f.down = false })
	a.waitDurable(2)
	a.waitTexts("one", "two")
	require.Equal(t, []string{"one", "two"}, f.stored())
}

func TestSilentServerIsLeft(t *testing.T) {
	t.Parallel()
	f, url := startFake(t)
	f.publishing = once("unheard", verdict{mute: true})
	a := openTab(t, "a", url)
	a.waitConnected()
	a.say("unheard")
	a.waitDurable(1) // after the publish stayed unanswered for longer than any server may take
	require.Len(t, f.attempts("unheard"), 2)
}

// TestRules runs the page's pure modules through the cases of testdata/rules.js inside the browser.
func TestRules(t *testing.T) {
	t.Parallel()
	a := openTab(t, "a", serverURL(t)+"/?room="+newRoom())
	a.waitConnected()
	failures := eval[[]string](a, rulesScript)
	require.Empty(t, failures)
}

//go:embed testdata/rules.js
var rulesScript string
