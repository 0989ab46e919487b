// Package route finds the rooms node that runs a room, and hands what arrives from rooms nodes to whoever waits for it.
//
// Which node runs a room is only ever a hint here: what an answer or a Moved said last, else the rendezvous order of the
// live rooms nodes of the own datacenter. A wrong hint costs one hop, never safety.
package route
