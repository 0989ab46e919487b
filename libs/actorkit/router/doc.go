// Package router sends a message to one, some or all of several routees that can do the same.
//
//	                 ┌─► routee
//	Ask ──► Router ──┼─► routee      which, and how many: Strategy
//	                 └─► routee
//
// A Routee is whatever answers: a function that asks another node over a Link, or an actor. Router works on a set of them that its
// owner names (Set). Pool is a Router over actors of the local system that it spawns, supervises, replaces and resizes.
//
// Nothing here is an actor that others wait behind, and no worker of an actor system is held: Ask runs on the goroutine of its
// caller. In a Receive it belongs into a task (PipeTo).
//
// # Bounds
//
// Each routee takes a limited number of messages that it has not answered. RoundRobin and Random pass over those that are full,
// ConsistentHash does not, since the message belongs to that routee. When nobody takes the message Ask returns ErrFull at once:
// nothing waits in front of the routees.
//
// # GoAkt's routers
//
// They are not used. Those of 4.2.13 choose a routee from a map and so do not take turns, let nobody answer to who asked, send to
// all by one goroutine a message, so in no order, keep a worker of the system for as long as a tail is chopped and while they spawn
// their routees, change their size by a difference, and build routees without arguments. GoAkt supervises the routees of a Pool, which
// are ordinary actors; one is not restarted but replaced by a new actor, because GoAkt starts the value that panicked again.
// contract_test.go shows what of this a test can.
package router
