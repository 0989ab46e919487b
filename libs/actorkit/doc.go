// Package actorkit is how Parley uses GoAkt: the two actor systems of a process, the Links between nodes, and
// event-sourced actors. Nothing else in Parley may call the clustered system.
//
// # Two systems
//
// A service runs two actor systems. The clustered one (StartNode) holds only the node's door, because GoAkt writes every actor
// of a clustered system to a registry that large numbers of names break, and stops the system when it cannot take one out again:
// a member that hangs would stop the others. The local one (StartLocal) holds everything else; spawning, watching and supervision stay inside it. A local actor reaches another
// node by handing a Frame to Node.Send; what arrives is given to the Handler, which hands it on to local actors by Tell.
//
// # Links
//
// All frames from one node to another go through one Link: a bounded queue, sent as numbered batches, one in flight,
// each a remote Ask that the peer's door answers after it has handed the frames over.
//
//	             probe answered                     Ask failed or timed out,
//	┌──────────┐   (LinkUp)     ┌──┐  refused, silent for AskTimeout  ┌────┐
//	│connecting│ ─────────────► │up│ ───────────(LinkDown)──────────► │down│
//	└──────────┘                └──┘ ◄─────────────(LinkUp)────────── └────┘
//	     └──── refused or nothing for AskTimeout (LinkDown) ────────────▲      retried after 50 ms … 1 s
//
// Frames are taken only while the Link is up. Going down drops the batch in flight, whose fate is unknown, and the queue,
// which was never sent; it always leaves a gap in the batch numbers, so the receiver learns (LinkLost), before it sees a
// later frame, that frames may be missing: those and what was refused meanwhile. Whoever needs more than that, needs its own sequence numbers.
//
// A Link that is down tries the direct way and, right behind it, the way around: its batch travels as a frame on the Link to a
// third node, which passes it on over its own Link to the peer, and the peer's door judges and answers it as any other; the answer
// comes back the same way. So only a peer that lives is reached so, a batch is still taken once and in its turn, and a Link that
// goes around goes down as a direct one does. Both Links of the third node are direct ones: what is relayed is not relayed again.
// While a Link goes around it looks for the direct way after 1 s … 15 s, and takes it between two batches. LinkStatus says over
// whom a Link goes.
//
// Links do not depend on GoAkt's registry, membership or events: addresses come from SetPeers, and the door is found by
// its path.
//
// # Persistent
//
// Persistent is one stream of a persistence.Journal inside an actor. A pure Behavior decides and applies; Persistent
// claims, recovers, groups what arrives during a commit into the next one, and answers only what is durable.
//
// # Singleton
//
// Singleton runs one actor on one of many nodes. Who holds a lease in the journal runs it; GoAkt's own singletons, which a crash
// or a panic loses for good, have no part in it. What two holders might do at once is told apart by the journal: see Singleton.
//
// # Rules for actors
//
// Workers are few (one per core, at least two) and shared by all actors of a system:
//   - never block in Receive, and never Spawn, Ask or SendSync there; use PipeTo(Self) with a task that returns its error
//     inside the result (GoAkt sends a task's error to dead letters) and that does not panic (that ends the process);
//   - spawn with SpawnOptions, from a task: PreStart runs on the spawning goroutine;
//   - PostStop runs on the goroutine that stops the actor, which may be another one than the turn's: stop an actor from
//     a task, and expect PostStop while a message is being handled.
//
// Enlarging the workers by raising GOMAXPROCS around the start of a system was considered and left out: it is process-wide
// and ends Go's own adjustment to container limits.
package actorkit
