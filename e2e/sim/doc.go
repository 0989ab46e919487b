// Package sim plays the protocol between clients, gateways, rooms nodes, journal and directory through in virtual time, under
// faults that real processes meet too seldom to be sure of: every run is a cluster of three rooms nodes and two gateways with
// six clients in two rooms, and takes about a hundredth of a second for fifty.
//
// It is a model: the rules of the services written down once more, as small as they can be, with the services' own numbers and
// words (settings.go). It shows whether the rules are right, not whether the services follow them; for that there are tests of
// real processes. When a rule changes in a service, change it here and see what 2,000 seeds say.
//
//	go test ./e2e/sim -run TestSim -sim.seeds=2000 -sim.seed=1
//	go test ./e2e/sim -run TestSim -sim.seeds=1 -sim.seed=77 -sim.trace -v
//
// # What is modelled
//
// Links with numbered batches, one in flight, heartbeats, silence and gaps (link.go, door.go); the directory with leases and
// views that lag (directory.go); the room host with its three reasons to claim, holds, queues and the poll for lost rooms
// (roomsnode.go, host.go); planned hand-over (handover.go); the writer: window, one append in flight, acknowledgement and
// delivery after the commit, what it owes to hubs (activation.go, commit.go, subscribers.go); the hub: subscription, ring,
// pages, contiguity, comparing heads, blind nodes (topic.go, subscribe.go, reads.go); the gateway's core: sessions, one batch
// per room, resending, deadlines (core.go, request.go); the client library: resume, outbox, the rule for what follows a cursor
// (client.go, outbox.go). The journal is one linearizable object whose answers may be lost and whose operations may come late
// (journal.go, call.go).
//
// # Faults
//
// Half of the runs are storms (storm.go): kills, freezes, cuts that may be one-way, splits, a journal that is killed, frozen or
// slow, a directory that is down or seen late, drains, connections that break and deliver late or twice. The other half are
// sieges (siege.go): one fault that lasts, during which everybody it spares must be served. Before and after, nothing is wrong,
// and nothing may go wrong: rooms are handed over and nobody may notice.
//
// # What is checked
//
// S1 to S5, L1 to L3 and L6 over what every client was told and what the journal stored (history.go, check.go), that no client
// loses its session, and that hand-overs neither refuse a publish nor hold it up.
//
// # What it cannot show
//
// Nothing of SQL, sockets, actors and the Go runtime; no load; no lost tail (S7); no memberships, moderation, signals and
// presence; two rooms, so nothing of rooms disturbing each other (S9); runs shorter than the dedupe window.
package sim
