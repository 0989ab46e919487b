package storm

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
	"github.com/parley-rt/parley/e2e/wire"
)

// watcher is in the full room and only listens.
type watcher struct {
	*wire.Conn
	asked uint32
	// next is the first frame that was not looked at.
	next int
}

// told is what a watcher was told of those who came and went: frames of so many bytes, and how many came and went by them.
type told struct{ frames, bytes, joined, left int }

func newWatcher(tb testing.TB, at *harness.Node) *watcher {
	tb.Helper()
	w := &watcher{Conn: wire.MustDial(tb, at.WebSocket())}
	w.Sendf(`{"join_room":{"room_id":%q}}`, fullRoom)
	w.Expect("room_joined")
	return w
}

// take returns what it was told since the last call.
func (w *watcher) take() (t told) {
	all := w.Frames()
	for _, f := range all[w.next:] {
		more, _ := f.Body["more"].(float64)
		switch f.Kind {
		case "member_joined":
			t.joined += 1 + int(more)
		case "member_left":
			t.left += 1 + int(more)
		default:
			continue
		}
		t.frames++
		t.bytes += len(f.Text)
	}
	w.next = len(all)
	return t
}

// sees asks until the answer is the number of members that are there, and requires that it is in time.
func (w *watcher) sees(tb testing.TB, members int, when string, within time.Duration) time.Duration {
	tb.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	var seen []string
	for begun := time.Now(); ; <-ticker.C {
		count := w.count(tb)
		took := time.Since(begun)
		seen = append(seen, fmt.Sprint(count, " after ", round(took)))
		if count == members {
			return took
		}
		require.Lessf(tb, took, within, "%s: %d members are to be counted, were %s", when, members, strings.Join(seen, ", "))
	}
}

// count asks how many are online: -1 when that was refused.
func (w *watcher) count(tb testing.TB) int {
	tb.Helper()
	w.asked++
	w.Sendf(`{"id":%d,"presence":{"room_id":%q}}`, w.asked, fullRoom)
	next := len(w.Frames())
	if next > 0 {
		next-- // the answer may be there
	}
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-ticker.C {
		frames := w.Frames()
		for ; next < len(frames); next++ {
			f := frames[next]
			if f.ID != w.asked {
				continue
			}
			if f.Kind != "presence_state" {
				return -1
			}
			count, _ := f.Body["count"].(float64)
			return int(count)
		}
	}
	require.FailNow(tb, "presence was not answered")
	return 0
}

// listeners are all watchers, two of which are asked for presence, too.
type listeners []*watcher

// take returns what each was told, and the most frames and bytes that one of them was.
func (l listeners) take() (each []told, most told) {
	for _, w := range l {
		t := w.take()
		each = append(each, t)
		most.frames, most.bytes = max(most.frames, t.frames), max(most.bytes, t.bytes)
	}
	return each, most
}

// listen looks once a second, until done, at what each watcher is told. It returns the sums and the most in one of these seconds.
func (l listeners) listen(done <-chan struct{}) (sums []told, peak told) {
	sums = make([]told, len(l))
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for ended := false; !ended; {
		select {
		case <-ticker.C:
		case <-done:
			ended = true
		}
		each, most := l.take()
		peak.frames, peak.bytes = max(peak.frames, most.frames), max(peak.bytes, most.bytes)
		for i, t := range each {
			s := &sums[i]
			s.frames, s.bytes, s.joined, s.left = s.frames+t.frames, s.bytes+t.bytes, s.joined+t.joined, s.left+t.left
		}
	}
	return sums, peak
}
