package web

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
)

// Two people talk while the server is killed under them twice and stopped once, and started again on the same data. Neither
// reloads the page; afterwards both show every line once, in the same order, those typed while the server was away too.
func TestTabsSurviveRestarts(t *testing.T) {
	t.Parallel()
	server := harness.StartDev(t)
	url := server.URL() + "/?room=crash"
	tabs := []*tab{openTab(t, "a", url), openTab(t, "b", url)}
	said := make([][]string, len(tabs))
	members := make([]string, len(tabs))
	for i, tab := range tabs {
		tab.waitConnected()
		require.True(t, eval[bool](tab, "window.notReloaded = true"))
		members[i] = tab.member()
	}
	for _, tab := range tabs {
		tab.waitCount(len(tabs))
	}
	// talk lets everybody write n lines, all at the same time.
	talk := func(n int) *sync.WaitGroup {
		var talking sync.WaitGroup
		for i, tab := range tabs {
			talking.Go(func() {
				for range n {
					text := fmt.Sprintf("%s says %d", tab.name, len(said[i]))
					said[i] = append(said[i], text)
					tab.say(text)
				}
			})
		}
		return &talking
	}
	watcher := openTab(t, "watcher", url)
	watcher.waitConnected()
	for round, stop := range []func(){server.Kill9, server.Term, server.Kill9} {
		talking := talk(15)
		watcher.wait(fmt.Sprintf(`document.querySelectorAll("[data-line][data-state=durable]").length > %d`, round*40+8))
		stop() // in the middle of a sentence: some lines have no answer
		talking.Wait()
		for _, tab := range tabs {
			tab.wait(`document.querySelector("[data-conn=waiting], [data-conn=connecting]")`)
		}
		talk(4).Wait()
		for _, tab := range tabs {
			tab.waitFor("[data-line][data-state=sending]")
		}
		server.Restart()
		talk(1).Wait()
		for _, tab := range append([]*tab{watcher}, tabs...) {
			tab.waitConnected()
			tab.waitDurable((round + 1) * 40)
		}
	}
	for i, tab := range tabs {
		tab.waitCount(len(tabs) + 1)
		require.True(t, eval[bool](tab, "window.notReloaded"))
		require.Equal(t, members[i], tab.member(), "the session was resumed")
		requireSaid(t, tab.lines(), said)
	}
	require.Equal(t, tabs[0].lines(), tabs[1].lines())
	require.Equal(t, tabs[0].lines(), watcher.lines())

	late := openTab(t, "late", url)
	late.waitConnected()
	late.waitDurable(50)
	require.Equal(t, tabs[0].lines()[70:], late.lines(), "the newest page")
	late.click("#older")
	late.waitDurable(100)
	late.click("#older")
	late.waitDurable(120)
	require.Equal(t, tabs[0].lines(), late.lines())
}

// requireSaid requires that the lines are durable, rise in seq, and hold exactly what each speaker said, in its order.
func requireSaid(t *testing.T, lines []line, said [][]string) {
	t.Helper()
	bySpeaker := map[string][]string{}
	last := 0
	for _, l := range lines {
		require.Equal(t, "durable", l.State, l.Text)
		seq, err := strconv.Atoi(l.Seq)
		require.NoError(t, err)
		require.Greater(t, seq, last)
		last = seq
		speaker, _, _ := strings.Cut(l.Text, " ")
		bySpeaker[speaker] = append(bySpeaker[speaker], l.Text)
	}
	require.Equal(t, map[string][]string{"a": said[0], "b": said[1]}, bySpeaker)
}
