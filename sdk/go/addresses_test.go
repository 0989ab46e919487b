package parley

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseAddresses(t *testing.T) {
	t.Parallel()
	begins := map[int]bool{}
	for range 200 {
		a, err := parseAddresses("ws://a:1, wss://b/path,http://c", false)
		require.NoError(t, err)
		require.Equal(t, []address{{url: "ws://a:1/ws"}, {url: "wss://b/path"}, {url: "http://c/ws"}}, a.list)
		begins[a.at] = true
	}
	require.Len(t, begins, 3, "many clients spread")
	for range 20 {
		a, err := parseAddresses("ws://a,ws://b", true)
		require.NoError(t, err)
		require.Equal(t, "ws://a/ws", a.current())
	}
	_, err := parseAddresses("ws://a,ftp://b,ws://", false)
	require.ErrorContains(t, err, `"ftp://b" must start with`)
	require.ErrorContains(t, err, `"ws://" has no host`)
	_, err = parseAddresses("ws://a,", false)
	require.Error(t, err)
}

func TestNextAddress(t *testing.T) {
	t.Parallel()
	a := &addresses{list: []address{{url: "a"}, {url: "b"}, {url: "c"}}}
	require.Equal(t, at(1), a.next(at(0), at(1)))
	require.Equal(t, "b", a.current(), "the next one, not the one that failed")
	a.refuse(at(1), 20*time.Second, at(0))
	require.Equal(t, at(2), a.next(at(1), at(2)))
	require.Equal(t, "c", a.current())
	a.refuse(at(2), 5*time.Second, at(0))
	require.Equal(t, at(3), a.next(at(2), at(3)))
	require.Equal(t, "a", a.current(), "what the others ask for does not hold for this one")
	a.refuse(at(3), 30*time.Second, at(0))
	require.Equal(t, at(7), a.next(at(3), at(4)), "all want to be left alone: c the shortest")
	require.Equal(t, "c", a.current())
	require.Equal(t, at(25), a.next(at(22), at(25)))
	require.Equal(t, "b", a.current())

	// A dead gateway is tried ever more rarely; one that told a time is not kept waiting for that.
	two := &addresses{list: []address{{url: "dead"}, {url: "full"}}, at: 1}
	two.refuse(at(0), 6*time.Second, at(0))
	require.Equal(t, at(1), two.next(at(0), at(1)))
	require.Equal(t, "dead", two.current())
	require.Equal(t, at(6), two.next(at(4), at(12)))
	require.Equal(t, "full", two.current())

	one := &addresses{list: []address{{url: "a"}}}
	one.refuse(at(0), 3*time.Second, at(0))
	require.Equal(t, at(3), one.next(at(0), at(1)))
	require.Equal(t, at(4), one.next(at(3), at(4)))
	require.Equal(t, "a", one.current())

	one.accept()
	for n := range 2 * obeyed {
		one.refuse(at(10), time.Second, at(30))
		want := at(11)
		if n >= obeyed {
			want = at(30)
		}
		require.Equal(t, want, one.next(at(10), at(30)), "refusal %d in a row", n+1)
		if n == 2*obeyed-1 {
			one.accept()
		}
	}
	one.refuse(at(10), time.Second, at(30))
	require.Equal(t, at(11), one.next(at(10), at(30)), "it has taken us in the meantime")
}
