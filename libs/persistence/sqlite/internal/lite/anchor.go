package lite

import (
	"sync"

	"modernc.org/libc"
)

// The allocator under SQLite gives a page of 64 KiB back to the kernel when the last of its blocks is freed, and each has blocks
// of one size. SQLite takes a scratch block of several KiB whenever it splits a page of the file, often as the only one of
// its size: one mmap and munmap each time, and the faults of a fresh page.
//
// So one small block of each size is kept for as long as the process lives: 11 blocks, 32 KiB in all.
var anchorSizes = sync.OnceFunc(func() {
	tls := libc.NewTLS()
	defer tls.Close()
	for size := minBlock; size <= maxBlock; size *= 2 {
		libc.Xmalloc(tls, libc.Tsize_t(size)) // kept; without it everything works, only slower
	}
})

const (
	minBlock = 16
	maxBlock = 16 << 10
)
