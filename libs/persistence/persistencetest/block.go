package persistencetest

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

var blockTests = []namedTest{
	{"blocked until unblocked", blockLasts},
	{"until it ends", blockEnds},
	{"replaced", blockReplaced},
	{"list", blockList},
	{"since", blockSince},
	{"many at once", blockMany},
	{"invalid arguments", blockInvalid},
}

func (b *bench) block(member string, units int) persistence.Block {
	b.Helper()
	block, err := b.BlockMember(b.Context(), member, time.Duration(units)*b.unit(), "spam", "root")
	require.NoError(b, err)
	return block
}

func (b *bench) blockOf(member string) *persistence.Block {
	b.Helper()
	block, err := b.BlockOf(b.Context(), member)
	require.NoError(b, err)
	return block
}

func blockLasts(b *bench) {
	require.Nil(b, b.blockOf("ada"))
	first := b.block("ada", 0)
	require.Equal(b, persistence.Block{Member: "ada", Reason: "spam", By: "root", At: first.At, Revision: 1}, first)
	b.expiresIn(0, first.At)
	require.Equal(b, first, *b.blockOf("ada"))
	require.Nil(b, b.blockOf("ad"))
	was, err := b.UnblockMember(b.Context(), "ada")
	require.NoError(b, err)
	require.True(b, was)
	require.Nil(b, b.blockOf("ada"))
	was, err = b.UnblockMember(b.Context(), "ada")
	require.NoError(b, err)
	require.False(b, was)
}

func blockEnds(b *bench) {
	first := b.block("ada", 10)
	b.expiresIn(10, first.Until)
	b.block("bob", 10)
	require.NotNil(b, b.blockOf("ada"))
	b.pass(11)
	require.Nil(b, b.blockOf("ada"))
	list, err := b.ListBlocks(b.Context(), "", 10)
	require.NoError(b, err)
	require.Empty(b, list)
	since, newest, err := b.BlocksSince(b.Context(), 0, 10)
	require.NoError(b, err)
	require.Empty(b, since)
	require.EqualValues(b, 2, newest)
	was, err := b.UnblockMember(b.Context(), "ada")
	require.NoError(b, err)
	require.False(b, was, "it had ended")
	require.EqualValues(b, 3, b.block("bob", 10).Revision, "a member whose block has ended is blocked again")
	require.NotNil(b, b.blockOf("bob"))
}

func blockReplaced(b *bench) {
	b.block("ada", 10)
	second, err := b.BlockMember(b.Context(), "ada", 0, "more spam", "eve")
	require.NoError(b, err)
	require.Equal(b, persistence.Block{Member: "ada", Reason: "more spam", By: "eve", At: second.At, Revision: 2}, second)
	require.Equal(b, second, *b.blockOf("ada"))
	since, _, err := b.BlocksSince(b.Context(), 0, 10)
	require.NoError(b, err)
	require.Equal(b, []persistence.Block{second}, since)
}

func blockList(b *bench) {
	var blocks []persistence.Block
	for _, member := range []string{"B", "a", "c", "ä"} { // in the order of bytes
		blocks = append(blocks, b.block(member, 0))
	}
	list, err := b.ListBlocks(b.Context(), "", 3)
	require.NoError(b, err)
	require.Equal(b, blocks[:3], list)
	list, err = b.ListBlocks(b.Context(), "c", 3)
	require.NoError(b, err)
	require.Equal(b, blocks[3:], list)
}

func blockSince(b *bench) {
	_, newest, err := b.BlocksSince(b.Context(), 0, 10)
	require.NoError(b, err)
	require.Zero(b, newest)
	for _, member := range []string{"c", "b", "a"} {
		b.block(member, 0)
	}
	blocks, newest, err := b.BlocksSince(b.Context(), 1, 1)
	require.NoError(b, err)
	require.EqualValues(b, 3, newest)
	require.Len(b, blocks, 1)
	require.Equal(b, "b", blocks[0].Member)
	_, err = b.UnblockMember(b.Context(), "a")
	require.NoError(b, err)
	blocks, newest, err = b.BlocksSince(b.Context(), 2, 10)
	require.NoError(b, err)
	require.EqualValues(b, 3, newest)
	require.Empty(b, blocks)
}

// blockMany: whoever has read up to some revision has missed none below it.
func blockMany(b *bench) {
	const members = 40
	var group sync.WaitGroup
	for i := range members {
		group.Go(func() {
			if _, err := b.BlockMember(b.Context(), fmt.Sprintf("member-%d", i), 0, "", ""); err != nil {
				b.Errorf("block: %v", err)
			}
		})
	}
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	seen, since := map[string]bool{}, uint64(0)
	for ended := false; ; {
		select {
		case <-done:
			ended = true
		default:
		}
		blocks, _, err := b.BlocksSince(b.Context(), since, 7)
		require.NoError(b, err)
		for _, block := range blocks {
			require.Greater(b, block.Revision, since)
			seen[block.Member], since = true, block.Revision
		}
		if ended && len(blocks) == 0 {
			break
		}
	}
	require.Len(b, seen, members)
}

func blockInvalid(b *bench) {
	for _, member := range badNames {
		_, err := b.BlockMember(b.Context(), member, 0, "", "")
		require.ErrorIs(b, err, persistence.ErrInvalid, "member %q", member)
		_, err = b.UnblockMember(b.Context(), member)
		require.ErrorIs(b, err, persistence.ErrInvalid, "member %q", member)
		_, err = b.BlockOf(b.Context(), member)
		require.ErrorIs(b, err, persistence.ErrInvalid, "member %q", member)
	}
	for _, text := range []string{strings.Repeat("x", persistence.MaxBlockText+1), "\xff", "a\x00b"} {
		_, err := b.BlockMember(b.Context(), "ada", 0, text, "")
		require.ErrorIs(b, err, persistence.ErrInvalid)
		_, err = b.BlockMember(b.Context(), "ada", 0, "", text)
		require.ErrorIs(b, err, persistence.ErrInvalid)
	}
	_, err := b.BlockMember(b.Context(), "ada", -1, "", "")
	require.ErrorIs(b, err, persistence.ErrInvalid)
	for _, limit := range []int{0, persistence.MaxRead + 1} {
		_, err = b.ListBlocks(b.Context(), "", limit)
		require.ErrorIs(b, err, persistence.ErrInvalid)
		_, _, err = b.BlocksSince(b.Context(), 0, limit)
		require.ErrorIs(b, err, persistence.ErrInvalid)
	}
}
