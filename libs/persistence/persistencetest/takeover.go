package persistencetest

import (
	"fmt"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

var takeoverTests = []namedTest{
	{"lists claims of others", takeoverLists},
	{"begins with the last minute", takeoverMinute},
	{"never misses one", takeoverAll},
	{"a mark of another backend is refused", takeoverMark},
}

func (b *bench) takeovers(owner string, since persistence.Mark) (map[persistence.StreamKey]persistence.Takeover, persistence.Mark) {
	b.Helper()
	list, next, err := b.Takeovers(b.Context(), owner, since)
	require.NoError(b, err)
	byKey := map[persistence.StreamKey]persistence.Takeover{}
	for _, t := range list {
		if known, ok := byKey[t.Key]; !ok || known.Epoch < t.Epoch {
			byKey[t.Key] = t
		}
	}
	return byKey, next
}

func takeoverLists(b *bench) {
	list, mark := b.takeovers("node-a", persistence.Mark{})
	require.Empty(b, list)

	b.claim("room/1", "node-a")
	b.claim("room/2", "node-a")
	b.claim("room/2", "node-b")
	b.claim("room/3", "node-b")
	list, mark = b.takeovers("node-a", mark)
	require.Equal(b, map[persistence.StreamKey]persistence.Takeover{
		"room/2": {Key: "room/2", Epoch: 2, Owner: "node-b"},
		"room/3": {Key: "room/3", Epoch: 1, Owner: "node-b"},
	}, list)

	c := b.claim("room/1", "node-b")
	list, mark = b.takeovers("node-a", mark)
	require.Contains(b, list, persistence.StreamKey("room/1"))
	require.EqualValues(b, 2, list["room/1"].Epoch)

	require.NoError(b, b.Release(b.Context(), c))
	c = b.claim("room/1", "node-c")
	require.NoError(b, b.Release(b.Context(), c))
	list, _ = b.takeovers("node-a", mark)
	require.EqualValues(b, 3, list["room/1"].Epoch, "a takeover that was released is one all the same")
}

func takeoverMinute(b *bench) {
	if b.opts.OwnClock {
		b.claim("room/1", "node-b")
		list, _ := b.takeovers("node-a", persistence.Mark{})
		require.Contains(b, list, persistence.StreamKey("room/1"))
		return
	}
	b.claim("room/old", "node-b")
	b.pass(2)
	b.claim("room/1", "node-b")
	list, mark := b.takeovers("node-a", persistence.Mark{})
	require.Contains(b, list, persistence.StreamKey("room/1"))
	require.NotContains(b, list, persistence.StreamKey("room/old"))
	b.pass(2)
	b.claim("room/2", "node-b")
	b.pass(60)
	list, _ = b.takeovers("node-a", mark)
	require.Contains(b, list, persistence.StreamKey("room/2"), "with a mark, age does not matter")
}

func takeoverAll(b *bench) {
	const claimers, each = 8, 40
	var group sync.WaitGroup
	for i := range claimers {
		group.Go(func() {
			for j := range each {
				key := persistence.StreamKey(fmt.Sprintf("room/%d-%d", i, j))
				_, err := b.Claim(b.Context(), key, "node-b", persistence.ClaimOptions{})
				requireIs(b, err, nil)
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		group.Wait()
		close(ended)
	}()
	_, mark := b.takeovers("node-a", persistence.Mark{})
	found := map[persistence.StreamKey]bool{}
	first, _ := b.takeovers("node-a", persistence.Mark{})
	for key := range first {
		found[key] = true
	}
	for more := true; more; {
		select {
		case <-ended:
			more = false // one more time after the last claim
		default:
		}
		var list map[persistence.StreamKey]persistence.Takeover
		list, mark = b.takeovers("node-a", mark)
		for key := range list {
			found[key] = true
		}
	}
	require.Len(b, found, claimers*each)
}

func takeoverMark(b *bench) {
	b.claim("room/1", "node-b")
	_, mark := b.takeovers("node-a", persistence.Mark{})
	_, again := b.takeovers("node-a", persistence.NewMark(mark.Value()))
	require.Equal(b, mark, again, "a mark is its value")
	for _, value := range []string{"of another backend", "1;2;3;", "\x00"} {
		_, _, err := b.Takeovers(b.Context(), "node-a", persistence.NewMark(value))
		require.ErrorIs(b, err, persistence.ErrInvalid, "mark %q", value)
	}
}
