// Package ws is the gateway's WebSocket server: it decides who may upgrade, reads and checks frames, and writes.
//
// A connection is one goroutine that reads, plus one that writes only while something is queued. Nothing else belongs to
// it: no timer, no channel, no buffer beyond 512 bytes. Liveness comes from one Wheel for all connections.
//
// What leaves is compiled once (Compile) and shared by every connection that gets it; many queued frames leave in one
// write. A connection that reads too slowly is closed with 4001 and harms nobody.
//
// What the peer does wrong ends in a close code of RFC 6455 and never in a panic, an endless wait or unbounded memory.
// Errors of the messages inside are the business of the Handler.
package ws
