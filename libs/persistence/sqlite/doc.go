// Package sqlite keeps the journal, sessions and leases in one SQLite file: the backend of a process that has nothing
// installed beside it. No cgo.
//
//	b, err := sqlite.Open(ctx, "parley-data/journal.db", sqlite.Options{Logger: logger})
//	defer b.Close(ctx)
//
// # Guarantees
//
// What a call acknowledged survives a kill of the process and a loss of power: the write-ahead log is synced before the
// answer (synchronous=FULL), as far as the disk tells the truth about syncing. What was not acknowledged is there only if
// its call returned ErrUnknown or the process died in it. After a crash the file opens by itself; a torn end of the log is
// dropped with the commits that were never acknowledged.
//
// # Concurrency
//
// One goroutine owns the only connection that writes. It takes everything that is queued (at most 1,000 rows or 4 MiB, and
// one append of each writer generation), applies it in one transaction and answers all of it after the commit; while that
// is under way, the next batch forms. Nothing waits for a batch to fill. Each request is conditional by itself: one that
// lost is answered and the others go on. Claims, snapshots, trims, sessions and leases take the same way, so a thousand
// sessions that change at once are a few commits. Reads run beside it on a few connections of their own, each call on one
// consistent state that includes everything acknowledged before it.
//
// The queue holds 8,192 requests and 32 MiB; beyond that requests are refused at once with ErrOverloaded.
//
// # Failure
//
// A full disk and other errors before the commit roll the whole batch back: ErrUnavailable, certainly not written. An
// error of the commit itself is ErrUnknown, and the writer starts over on a new connection. A request that breaks its
// transaction by itself (its stream is corrupt) is taken out and the others are applied again. No error stops the writer:
// the next batch tries again.
//
// # The file
//
// Open takes an exclusive lock on a file beside the database (journal.db: journal.db.lock) that holds the process id; a
// second Open fails with *LockedError, which names it. The lock ends with the process, so a killed one leaves nothing to
// clean up. Database, log and lock file are made with mode 0600, a missing directory with 0700; files that exist keep
// theirs. Do not put the file on a network file system: neither its locks nor its shared memory can be relied on. To copy
// the file of a running process use SQLite's backup, not a file copy: recent commits are in journal.db-wal.
//
// The schema is brought up to date by Open, step by step, each in its own transaction (migrations/). A file that a newer
// version has migrated is refused with ErrSchemaVersion, unless its steps say that this version runs with them, too.
//
// Trimmed events are invisible at once; their rows are deleted in the background, some with each commit, and their space
// is used again. Positions, epochs and stream ids are never used twice.
//
// # Cost
//
// Events are appended to the end of one table whatever their streams, so a commit of a thousand rooms dirties few pages
// beside the index; statements are prepared once and bound without database/sql (package lite). The benchmarks compare
// with a bare file that is synced as often.
package sqlite
