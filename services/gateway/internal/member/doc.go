// Package member is one client's side of the gateway: what a connection may ask for, in which order, and what it is told.
//
// Core is the pure half, a state machine without actors, clocks or I/O: every input is a method with the time, every
// effect a call on Effects. Member is the shell: it turns messages into inputs and effects into sends, tasks and writes. Its
// turns are taken by a Shard, a GoAkt actor in the process's local system that many connections share.
//
//	socket ──frames──► window ──► Shard ──► Core ──requests──► route ──► Link ──► rooms node
//	   ▲                            │          └──tasks──────► session store
//	   └──outbox◄── answers ────────┴──attach, detach──► hub ──messages──► outbox
//
// Messages of rooms do not pass through here: the hub writes them to the connection itself. What must be in order with
// them (room_joined, reset, room_left) is handed to the hub, which writes it at the right place in the stream.
//
// Every publish is answered exactly once and in time (L1); publishes of one connection in one room keep their order (S4):
// at most one batch of a room is out, it is resent whole, and the next waits for its answer.
package member
