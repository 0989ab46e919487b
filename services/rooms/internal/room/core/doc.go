// Package core is the pure half of a room: what its two streams mean and what a command decides on them. It does no I/O
// and knows neither actors nor clocks; the shell around it (package room) brings both.
//
//   - State and Draft are the stream room/<id>: messages, their numbering and the dedupe window (Window), with the recent
//     messages kept for readers (Tail).
//   - Members and MembersDraft are one shard of the streams members/<id>: who belongs to the room.
//   - Presence is who is connected right now: soft state, told by gateway nodes, never stored.
//   - Resolve places a returning member's cursor in the room's history.
//
// A draft is an overlay for one batch: it reads the state and collects what the commands of the batch decided, at a cost
// that follows the batch and never the state. A batch that cannot be stored is dropped together with its draft and leaves
// no trace, which is what makes a failed append harmless.
//
// Values here are not safe for concurrent use, with one exception: a *roomv1.Message that was handed out is never
// changed again and may be read from anywhere.
package core
