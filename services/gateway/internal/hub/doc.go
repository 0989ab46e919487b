// Package hub brings a room's messages to the connections of this node.
//
// A gateway node subscribes to a room once, however many of its connections are in it. Topic is the pure half: one room's
// subscription, the ring of its recent messages as compiled frames, and every attached connection's cursor. Shard is the
// shell: an actor that holds the topics of a share of all rooms. Deliveries go from the shard to the outboxes directly.
//
//	        Subscribed        attach: cursor in the ring? ── yes ──► live: gets every Deliver
//	rooms ──Deliver──► ring                │ no                        ▲
//	node  ──Page─────► catching up, page by page, as fast as ──────────┘ cursor has reached the ring
//	                   its outbox empties
//
// The rule for each connection (S5): a message is delivered iff prev_seq <= cursor < seq, in order, and the cursor moves
// to its seq. Whatever is lost on the way shows as a gap between the ring's last message and the next one's prev_seq; the
// topic then subscribes again and connections that fell behind read on from their own cursors. Nothing is ever skipped:
// a connection that cannot be served contiguously gets reset, or is closed to resume.
package hub
