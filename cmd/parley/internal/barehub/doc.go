// Package barehub is the least that a server can do for the scenarios of parley bench: what a machine gives at most. It accepts
// WebSocket connections, reads the frames of this project's client protocol as bytes, numbers messages, and writes them to the
// members of their room. It keeps nothing, checks nobody, and forgets a room's past beyond a tail in memory.
//
// A loop per processor waits for its own connections. What is ready in one turn is taken together: all messages of a room leave in
// one write to each member, the acknowledgements of a publisher in the same one. Frames have every field that the server sends.
//
// It is for comparison only; nothing but the benchmark may use it.
package barehub
