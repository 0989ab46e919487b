// Package dcplane is Parley's control plane: the directory in which every process finds the nodes of every DC.
//
// # What it promises
//
// Hints, and nothing else. Who writes a room's history is decided by an epoch in the journal, checked in the transaction
// that appends; the directory only says whom to ask first. A stale, missing or wrong entry therefore costs a redirect or
// a retry, never a message. In exchange the directory never blocks a reader and never takes working nodes away because
// the control plane itself is ill:
//
//   - A node is in every reachable directory within a second of Register, and gone at once after Deregister.
//   - A node that stops renewing is gone one lease (4 s) after its last renewal was seen, and not before.
//   - Leases are measured on the reader's monotonic clock from the moment it saw a renewal. Wall clocks of two machines
//     are never compared.
//   - While the control plane does not answer, nobody is removed: Age grows and, past MaxCacheStaleness, Ready turns
//     false. When it answers again every entry gets one whole lease to show that it is alive, even if the control plane
//     came back empty.
//   - Of two processes with the same DC, service and name, the one that registered later is shown; the other is told
//     through Registration.Lost and stops renewing.
//
// # Usage
//
//	dir, err := open.Open("nats://127.0.0.1:4222", open.Options{}) // whether or not it can be reached now
//	reg, err := dir.Register(ctx, dcplane.Node{Service: "rooms", DC: "dc-a", Name: "rooms-1", …})
//	for {
//		changed := dir.Changed() // first the channel, then the view: no change is missed
//		route(dir.Nodes("dc-a", "rooms"))
//		<-changed
//	}
//
// # Layers
//
// Cache is the pure core: it is told what was seen and when, and answers who is alive. The packages nats (JetStream
// key-value bucket) and memory (one process, for tests) feed it; package dcplanetest holds the behaviour both must show.
//
// # Failure
//
// Every call to the control plane has its own deadline and is retried for ever; an outage of any length ends by itself.
// A record that cannot be decoded is skipped and logged once, and harms no other record.
package dcplane
