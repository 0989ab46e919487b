// Package room is the actor of one room in its role as writer: the shell around the pure parts in package core.
//
// # What it does
//
// A Room holds the room's two kinds of streams (room/<id>, and one or more shards of members/<id>), claims and recovers
// them in PreStart, and then serves frames: joins and leaves, publishes, signals, pages, presence, subscriptions. It never
// blocks in Receive: appends are piped back by actorkit.Persistent, reads of the journal run in tasks, a few per room and
// a bounded number per node. Acknowledgement and fan-out happen only after the commit: one Published per publish and one
// chain of Deliver frames per subscribed gateway node, encoded once for all of them.
//
// Publishing and signalling need a joined member; the room's own memberships are the authority (NOT_JOINED). It looks at
// the member, not at the session: which connection may speak for the member is the gateway's business. Duplicates are
// answered before that is looked at.
//
// # Settings and moderation
//
// Commands of administrators go through the same stream as publishes (write), so they hold for everything behind them. What a
// removal entails is in evict.go: memberships end in a second commit, which a sweep repeats until it has succeeded, and gateways
// are told by a chain of Evicted frames that every later frame refers to. Retention (retention.go) holds for readers as soon
// as it is known and trims the stream only behind what the next activation must read back.
//
// # Subscriptions: nothing is lost silently
//
// Subscribed is sent before the deliveries after it, through the same ordered Link, and names the message after which
// they start; every message names the one before it. So a hub sees any gap. That alone does not help it when it is the
// last deliveries that are missing, hence:
//
//   - A delivery that the Link does not take (full or down) ends the subscription. The room owes that node a Closed and
//     sends it as soon as the Link takes it; the hub then subscribes again from its own cursor and reads what it missed.
//   - A gateway node that is gone or whose frames are missing (NodeDown, NodeLost) loses its subscription and its share
//     of the presence in the same way. A hub that gets Closed must subscribe again and then say anew who is online, in
//     full.
//   - A room that lost its stream to another writer sends Closed with the new owner's name.
//   - What these cannot reach (the Link is down for good, the node is cut off) the hub finds out by itself: silence of
//     the Link, or heads that differ.
//
// # How it ends
//
//	PreStart ──► serving ──► finishing ──► Finished ──(host)──► PostStop: snapshot, release, Closed
//	                │  ▲         │
//	                │  └─ Keep ──┘ (idle only: somebody came)
//	                └──► dead: fenced, outcome unknown, or a stream that cannot be understood
//
// A dead room answers everything with Moved: to the new owner when it was fenced, else to its own node, where the host
// queues the frames for the next activation. A publish whose outcome is unknown is answered the same way and never as an
// error: the gateway sends the whole batch again, in order, and the next activation, whose claim has settled the outcome,
// recognises what was stored. So nothing acknowledged is lost and nothing is stored twice, whatever the append did.
//
// # Back-pressure
//
// Every frame is counted in bytes from its arrival at the node until it is answered, against the bounds of the room and
// of the node (Meter). Beyond them requests are refused with BUSY before they get here.
//
// # Concurrency
//
// The mailbox is the lock. Shared with the host are only Slot and Meter, which are atomic. Messages handed to Links are
// immutable.
package room
