// Package persistence is the contract of Parley's durable store: event streams with snapshots (Journal), the same events
// over all streams (Feed), what keeps them small (Maintenance), sessions (SessionStore) and leases (LeaseStore). A Backend
// offers all of them; package open opens one by its URL.
//
// # Streams
//
// An entity has one stream of events, numbered from 1 without holes. Whoever wants to write claims the stream first; the
// claim raises the stream's epoch and returns its head. Appends carry the epoch and the position they expect, and the
// store compares both in the transaction that stores the events. So of two writers exactly one can go on: the one that
// claimed last. No clock and no lease takes part in that.
//
//	c, err := journal.Claim(ctx, "room/42", "node-a", persistence.ClaimOptions{})
//	rec, err := journal.Recover(ctx, c)                     // snapshot and the events after it
//	last, err := journal.Append(ctx, c, c.LastSeq, events)  // durable when it returns nil
//
// # What becomes of an append
//
//	            ┌──────────────── refused: ErrInvalid, ErrTooLarge, ErrClosed, ErrOverloaded
//	            │
//	Append ──►queued──► in a commit ──► stored: nil
//	            │           ├─────────► not stored, terminal: *FencedError, ErrConflict, ErrCorrupt
//	            │           ├─────────► not stored, may be tried again: ErrUnavailable
//	            │           └─────────► not known, terminal: ErrUnknown
//	            └ ctx ends: not stored: ErrUnavailable (ctx ends in the commit: ErrUnknown)
//
// Terminal means for this claim: its holder stops and, if it is still wanted, claims again. The claim comes after
// whatever was on its way, so the head it returns says what an ErrUnknown had become of.
//
// # Lanes and consumers
//
// The events of all streams lie in a few lanes, in the order of their commits and at rising positions. A consumer goes
// through a lane page by page and keeps its place in a checkpoint, which one owner at a time may move:
//
//	at, err := feed.ClaimCheckpoint(ctx, "mail", lane, "node-a")
//	events, next, err := feed.ReadLane(ctx, lane, at.Pos, 500)
//	err = feed.SaveCheckpoint(ctx, at, next)                // after its work on them is done
//
// # Partitions
//
// Events are written to the newest partition and dropped by whole partitions, the oldest first, once no stream needs one to
// recover (its newest snapshot is beyond it) and no checkpoint is behind it:
//
//	err = maintenance.Rotate(ctx, today)
//	dropped, err := maintenance.DropPartitions(ctx, old) // *BlockedError names who still needs one
//
// A partition holds what was written until the next one began, however late that was: it is old when the one after it is.
//
// # Lost tails
//
// A journal that was put back to an earlier state is marked by MarkRestored before anything uses it. A writer that finds
// less than it acknowledged calls Reincarnate. Both give streams a new incarnation, by which readers see that a cursor of
// theirs may belong to a history that is gone.
//
// # Concurrency
//
// Every method of every interface here is safe for concurrent use, and calls of different streams are committed together.
// Claim, Event and the other values are the caller's: backends keep no reference to them after a call has returned, and
// what they return is the caller's alone.
//
// # Failure
//
// Errors are sentinels of this package, wrapped with the operation and the cause; test with errors.Is and errors.As. A
// context that has ended gives ErrUnavailable with the context's error in its chain, and nothing was done.
//
// # Backends
//
// Package persistencetest is the definition in executable form: a conformance suite with a model-based test, which every
// backend passes, a wrapper that injects faults for tests of code above, and a history that checks a store against what its
// users were told, for tests that kill and cut. A Migrator takes a store's schema up and down.
package persistence
