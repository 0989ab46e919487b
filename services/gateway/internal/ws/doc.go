// Package ws is the gateway's WebSocket server: it decides who may upgrade, reads and checks frames, and writes.
//
// A silent connection has no goroutine, no timer, no channel and no buffer. One epoll loop for all gives it a worker while something
// has arrived (see loop), and a goroutine writes only while something is queued. Where there is no epoll, and beneath TLS without
// Listen, a goroutine reads, with 512 bytes of buffer. Liveness comes from one Wheel for all connections.
//
// What leaves is compiled once (Compile) and shared by every connection that gets it; many queued frames leave in one
// write. A connection that reads too slowly is closed with 4001 and harms nobody.
//
// What the peer does wrong ends in a close code of RFC 6455 and never in a panic, an endless wait or unbounded memory.
// Errors of the messages inside are the business of the Handler.
package ws
