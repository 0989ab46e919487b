package web

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
)

// Two people talk while the server is killed under them, three times, and started again on the same data. Neither reloads
// the page; afterwards both show every line once, in the same order, those typed while the server was away too.
func TestTabsSurviveKilledServer(t *testing.T) {
	t.Parallel()
	server := harness.StartDev(t)
	url := server.URL() + "/?room=crash"
	tabs := []*tab{openTab(t, "a", url), openTab(t, "b", url)}
	said := map[string][]string{}
	total := 0
	say := func(i int) {
		text := fmt.Sprintf("%s says %d", tabs[i].name, len(said[tabs[i].name]))
		said[tabs[i].name] = append(said[tabs[i].name], text)
		total++
		tabs[i].say(text)
	}
	for _, tab := range tabs {
		tab.waitConnected()
		require.True(t, eval[bool](tab, "window.notReloaded = true"))
	}
	for _, tab := range tabs {
		tab.waitCount(2)
	}
	for range 3 {
		for range 6 {
			say(0)
			say(1)
		}
		server.Kill9() // some of these have no answer yet
		for _, tab := range tabs {
			tab.wait(`document.querySelector("[data-conn=waiting], [data-conn=connecting]")`)
		}
		for range 3 {
			say(0)
			say(1)
		}
		for _, tab := range tabs {
			tab.waitFor("[data-line][data-state=sending]")
		}
		server.Restart()
		say(0)
		say(1)
		for _, tab := range tabs {
			tab.waitConnected()
			tab.waitDurable(total)
		}
	}
	for _, tab := range tabs {
		tab.waitCount(2)
		require.True(t, eval[bool](tab, "window.notReloaded"))
		requireSaid(t, tab.lines(), said)
	}
	require.Equal(t, tabs[0].lines(), tabs[1].lines())

	late := openTab(t, "late", url)
	late.waitConnected()
	late.wait(`document.querySelectorAll("[data-line]").length >= 40`)
	if total > 50 {
		late.click("#older")
	}
	late.waitDurable(total)
	require.Equal(t, tabs[0].lines(), late.lines())
}

// requireSaid requires that the lines are durable, rise in seq, and hold exactly what each speaker said, in its order.
func requireSaid(t *testing.T, lines []line, said map[string][]string) {
	t.Helper()
	got := map[string][]string{}
	last := 0
	for _, l := range lines {
		require.Equal(t, "durable", l.State, l.Text)
		seq, err := strconv.Atoi(l.Seq)
		require.NoError(t, err)
		require.Greater(t, seq, last)
		last = seq
		speaker, _, _ := strings.Cut(l.Text, " ")
		got[speaker] = append(got[speaker], l.Text)
	}
	require.Equal(t, said, got)
}
