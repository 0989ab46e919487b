// Package chaostest lets everything go wrong with a journal on Postgres at once and checks what is left. It has tests only:
//
//	go test ./libs/persistence/chaostest -run 'TestChaos$' -v -timeout 0 -chaos.duration=10m -chaos.seed=7
//
// starts its own servers, lets faults happen for that long in all scenarios together, two of which go on at once, and prints a
// line for each. All that is random in load and faults comes from the seed, which is printed; what runs beside what does not.
//
// # Load
//
// Three nodes, each a backend with its own proxy to the server. 210 rooms, each written to by an activation that claims the
// stream, recovers its state (a hash over all events, which every event carries on), appends batches of 1 to 5 events, saves
// snapshots, trims, and at times releases. Every 10 ms another activation, which nobody asked for, claims a room on some node.
// One whose append is refused tries again at the same position, with the same events or others; one whose append is unknown
// claims again. Besides: readers in both directions, two consumers on each lane that take the checkpoint from each other,
// spectators that follow lanes without one, watchers of takeovers, sessions that are resumed and saved anywhere, leases that
// every node wants and a stream written under each, and one call in fifty whose context ends early.
//
// # Faults
//
//	crashes   kill -9 of the server, or of the postmaster alone; all its processes frozen for seconds; sessions terminated, one
//	          or all; nodes killed or drained and replaced; partitions rotated, and old ones dropped
//	network   answers lost after the request was executed, half-closed and delayed connections, stalls longer than the backend
//	          waits whose bytes arrive afterwards, cuts, a node that cannot connect; the same restarts and partitions
//	standby   the synchronous standby hangs; somebody cancels and terminates the sessions that wait for it; lost answers
//	failover  the primary is killed for good and the standby promoted, also after it was cut off for so long that clients gave
//	          up; it gets a new standby by base backup, and waits for that
//	disk      the file system is full, for data and for the log, until there is room again
//	everything  crashes, network and disk at once; in runs of a minute and more
//
// A run fails when a fault has had too little effect for its duration.
//
// # Checks
//
// The history (package persistencetest) checks invariants I1 to I7 in the end. The witness checks while it goes on, and says:
// an event that anybody was shown or told of is shown alike to everybody from then on, and no head ends before it (stays);
// recovered states are what the events add up to (rebuilt); epochs and generations rise; no two hold a lease or a checkpoint
// at once (alone); what was acknowledged of snapshots, trims, checkpoints and sessions is there (kept); the feed gave its
// consumers everything, also what is trimmed by now (delivered); every takeover is listed; nothing that began while the standby
// was away was acknowledged before it came back (replicated); only errors of the contract (contract). When the faults are over
// every node and every room must be written to again within 30 s, and the consumers reach the end (alive).
//
// An event may disappear that was shown, not acknowledged, if somebody canceled the wait for the standby before a failover: so
// no scenario has both.
//
// # Does it find anything?
//
// TestChaosFindsRemovedProtections takes one protection away, from outside (persistencetest.Unfenced, Unsettled, Cancelling),
// and fails unless violations turn up.
package chaostest
