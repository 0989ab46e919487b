// Package ratelimit bounds how often and how much something may be done: by a member on all gateways together, by an address, by a
// connection, in a room.
//
// The rule is the generic cell rate algorithm (GCRA, ITU-T I.371; "virtual scheduling"): of a key it remembers one time, at which
// everything taken so far will have been regained. What is taken moves it on by cost / rate; what would move it further than
// burst / rate ahead of now is refused, and it is known to the millisecond from when on it passes. A [Limit] has two such rules, of
// pieces (messages, requests) and of bytes; what either refuses is not taken from both.
//
// A [Limiter] is one node's. It decides for three kinds of scope:
//
//   - [Own]: nobody else counts the key (a connection, a room's writer). The caller keeps the [Meter], 16 bytes.
//   - [Shared]: several nodes count it (a member). Each decides for itself, without waiting for anybody, by the share of the limit
//     that a [Store] leases to it: what the others have taken and how many they are. What was taken is reported, and the lease
//     renewed, every 100 ms in the background, for the keys in use, many in one request. With the store away, or for a key that it
//     was not asked about yet, a node goes on with 2/N of the limit, where N is the number of nodes there are.
//   - [Direct]: the store decides, for what may wait 20 ms (a new connection). With the store away the node does, with 2/N as well.
//
// # The bound
//
// With B and R the burst and rate of a limit, N nodes, and Δ = 100 ms and a round trip, all nodes together let pass in any time t
// at most
//
//	B + R·t + S(N)·(B + R·Δ)    S(N) = Σ max(1/j, min(1, 2/N)), j = 1…N    S(1) = 1, S(2) = 2, S(3) = 2.33, S(10) = 3.28
//
// because what is not reported yet is at most each node's share of it, and those that come later know of those that came before.
// What was too much is a debt that the store keeps: the average over long times stays R. While the store is away, which a node
// notices within Δ' = 600 ms, it is
//
//	S(N)·(B + R·Δ') + 2·(B + R·t)
//
// A store that forgets (a server that fails over without its last second, or restarts empty) gives B once more.
//
// # Memory
//
// A Shared or Direct scope remembers at most Config.Keys keys, about 200 bytes each, and forgets those that have regained
// everything. Of more keys at once, all in debt, those that have no place pass, and are counted as unlimited: the limits that lie
// behind (each connection's own) still hold.
//
// # Concurrency
//
// All of it is safe for concurrent use but Meter, which is its owner's. A Limiter runs one goroutine, however many keys there are.
//
// # Testing
//
// ratelimittest has the suites that every Store and every Limiter passes; memory is a Store within a process, redis one on a Redis
// server, redistest starts a private server.
package ratelimit
