// Package memory knows how much memory this process may use before the kernel ends it, and how much it uses, so that a service can
// refuse work in time.
//
//	b, err := memory.Find(limit)      // what was set, the cgroup's limit, or the machine's memory
//	restore := b.LimitRuntime()       // the garbage collector works harder near it
//	used, of, err := b.Used()         // every now and then: it reads a few small files
//
// On Linux the limits of the process's cgroup and of those above it count, of version 1 and 2, and what they count: memory of the
// kernel for sockets, and of other processes in the same cgroup, too. The one with the least room left tells, at each look anew. File pages do not count, because the kernel takes them back
// before it ends anybody. Elsewhere, and for a limit that was set, the process's own memory counts.
package memory
