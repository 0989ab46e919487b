// Package roomhost is the parent of a node's rooms: it decides whether a room may run here, starts and stops its
// activation, and hands frames to it.
//
// # Ownership
//
// The journal's head of a room names its owner. Asked for room r, host h serves it when it runs here. Else it claims the
// room if the owner is empty, h itself (an earlier life), cannot be reached (its Link is down, or it says of itself that it
// is blind), or has neither a Link nor a record that the directory would have to have. In all other cases it answers Moved.
// An owner whose Link is up is never robbed. The claim is guarded by the epoch that was looked at, and the room's epoch in
// the journal decides who may write: a wrong guess here costs a takeover, never a message. So the guess may be eager, which
// is what makes failover fast (L3).
//
// A host that was fenced off a room does not claim it again for 1 to 5 s and sends askers on to the winner meanwhile; nor
// after that, as long as the winner goes on writing. So two hosts with different views do not take a room from each other in
// turns (L6).
//
// # Moves
//
// A drain, and a node that has joined, make the host hand rooms over: see move for the giving side, and gift and warmStore for
// the taking one. A room goes on serving while the other host reads it ahead, and pauses for the claim and what came since.
// It is always the owner who gives, so there is nothing to agree on; whatever is lost on the way ends in a release, which is
// what happens to a room that nobody wants. All of it is bounded: what is read ahead by number, bytes and age, what pauses
// by how long pauses take, a drain by its deadline (L5).
//
// # A room's slot
//
//	(none) ──frame──► starting ──claimed──► running ──Finish──► stopping ──terminated──► (none)
//	                     │                     ▲  │                 │
//	                     └─ Moved, refused     │  └─crashed─►(none) │
//	                                           └─────Keep, GoOn─────┘
//
// While a room starts or stops its frames queue, bounded by number, bytes and age; beyond that they are refused with BUSY
// or UNAVAILABLE. They go to the next activation once the last one has terminated. Starting and stopping do I/O and run
// in tasks; the host itself never blocks. A room that cannot be started, or that crashed, is not tried again for a while
// that grows with every failure, so a poisoned room costs little (S9).
//
// # Lost tails
//
// The host remembers up to which seq the rooms that stopped here had acknowledged events, for the 100,000 that stopped last.
// A room that comes back and finds less in its journal changes its incarnation, which tells whoever resumes (S7). The
// memory ends with the process: what is lost with the node that knew of it is for Maintenance.MarkRestored to announce.
//
// # Concurrency
//
// Host is an actor: everything but the methods named so runs on its turn.
package roomhost
