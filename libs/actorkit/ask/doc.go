// Package ask puts questions to the writers of rooms, from any node that has Links to rooms nodes to whichever runs the room.
//
// A question is a frame. It goes over the Link to the node that is believed to run the room, or to this node's own door;
// the answer comes back by the (connection, request) that it carries. Which node runs a room is only a hint: what an
// answer or a Moved said last, else the order in which the asker lists the live nodes. A wrong hint costs a hop.
//
//	              ┌─────────────── Moved, ≤ MaxHops ──────────────┐
//	              ▼                                               │
//	choose a node ─► send ─► wait ── answer, definite refusal ──► done
//	      ▲                    │
//	      ├── link down, silent for SilenceAfter ────┤
//	      └── pause ◄── passing refusal, too many hops, nobody to ask
//
// Asking ends with an answer, or with an error when the deadline comes first. A question may reach the room several times,
// so everything that changes something must be idempotent by a number or id in the frame. A late answer to an earlier
// attempt counts for nothing: it could say "not done" of something that a later attempt does.
//
// An Asker is safe for concurrent use. It bounds nothing: who calls it bounds how many questions are open.
package ask
