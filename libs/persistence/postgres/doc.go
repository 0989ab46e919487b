// Package postgres keeps the journal, sessions and leases in a Postgres database (15 or later): the backend of a
// deployment with several nodes.
//
//	b, err := postgres.Open(ctx, "postgres://parley@db1,db2/parley", postgres.Options{Logger: logger})
//	defer b.Close(ctx)
//
// # Guarantees
//
// What a call acknowledged is as durable as the server makes a commit: on its disk, and with synchronous_standby_names on the
// standbys that it names. Of two writers of a stream exactly one can go on, whatever they, the network and the server do;
// no clock takes part in that. What was not acknowledged is there only if its call returned ErrUnknown or the process died
// in it.
//
// A read sees what is committed. While a synchronous standby is away, a commit that waits for it is not visible; it becomes
// visible without being replicated only when somebody ends the wait on the server (a canceled backend, a restart of the
// server), and then a failover may take it back. Claims do not return, and appends are not acknowledged, before what they
// saw is as durable as an acknowledgement.
//
// # What becomes of an append
//
//	Append ──► queue of its lane ──► batch ──► server ─┬─► won ───────────────────────────────► nil
//	             │        │                       ▲    ├─► lost ──► settle ─┬ its own events are there, ► nil
//	             │        │                       │    │                    │ by an attempt before
//	             │        │                       │    │                    ├ another epoch ───► *FencedError
//	             │        │                       │    │                    └ another head ────► ErrConflict
//	             │        │                       │    ├─► refused: full disk, no privilege ──► ErrUnavailable
//	             │        │                       │    ├─► poison: found by halving ──► ErrInvalid, ErrCorrupt
//	             │        │                       └────┴─► no answer: the same batch again, on a new connection
//	             │        │                                     └ nobody waits any more ─────► ErrUnknown
//	             │        └ ctx ends ────────────────────────────────────────────────────────► ErrUnavailable
//	             └ full: ErrOverloaded · breaker open, or no commit for 2 s: ErrUnavailable · closed: ErrClosed
//
// A batch without an answer is never settled by reading. It is executed again: that waits for a transaction that is still
// under way, and its commit, which is a real write whoever wins, waits for the standbys.
//
// # Concurrency
//
// Streams are spread over lanes (rows of journal_lane; a stream stays in the lane it was created in). Each transaction that
// appends or claims holds the rows of its lanes until it has committed, so the positions of a lane become visible in order,
// which is what feeds and Takeovers build on. A writer is a goroutine with a connection; it takes everything that is queued
// (at most 1,000 events or 4 MiB, and one append of each writer generation) and commits it by one statement, while the next
// batch forms. Nothing waits for a batch to fill. At low load one writer serves all lanes; while batches exceed 600 events
// the lanes are spread over more of them.
//
// Each lane's queue holds 8,192 requests and 32 MiB, the queue of sessions 8,192 changes; beyond that requests are refused
// at once with ErrOverloaded. Snapshots and trims are transactions of their own on four connections, leases and checkpoints on
// one; at most 16,384 callers wait for these. Recoveries that come together are read 64 at a time, by at most two trips at once.
//
// # Failure
//
// Connections that write are dialled once, and no context ends a statement on them: pgx would send the server a cancel
// request, and one that reaches a commit's wait for synchronous replication publishes what is not replicated. A statement
// that takes too long (1.5 s at first) has its socket closed instead, and is sent again. A warning that somebody else
// canceled the wait makes a success doubtful, which is settled like a lost answer. statement_timeout is not used: it does
// not apply to the wait. A server that has lost its client ends the session within seconds, and a client that stopped in the
// middle of a batch, holding its lane, is ended by the first writer that waits for it.
//
// After five failures in a row the breaker opens: requests are refused at once with ErrUnavailable while an appended probe
// finds out when the server takes writes again. With several hosts in the URL, a new connection goes to the one that takes
// writes.
//
// # The schema
//
// All tables are in one schema, "parley" unless the URL names another by search_path. It is migrated step by step
// (migrations/), each in its own transaction, by one of all that try. Events are partitioned by number: Rotate makes a
// partition, DropPartitions deletes whole ones. Trimmed events are invisible at once; their rows go with their partition.
//
// The statements of streams, sessions, leases and feeds use CTEs, arrays, ON CONFLICT and row locks, and none changes a
// table twice, so that they can move to CockroachDB or YugabyteDB; they have been run on Postgres only. Partitions, the guard by
// an advisory lock, the settings of connections and the search for stalled sessions are Postgres's own.
package postgres
