// Package book is the schedule book at work: the actor that has the 64 streams of the book for a term, starts what is due, sends
// it to the rooms and answers calls about schedules.
//
//	calls ─► Submit ─┐                                                   ┌─► room: a number is taken once
//	tick: due ───────┴► stream (event-sourced) ─► FiringStarted ─► send ─┤
//	                        ▲                                            └─► failed: again after a pause, until time is up
//	                        └────────────── FiringEnded ◄─── outcome ◄───┘
//
// It runs as an actorkit.Singleton. Two nodes may both believe for a moment that they have the book: the loser stores nothing any
// more, since its claims were fenced, and what it still sends rooms have had or will refuse, by its number (S6).
//
// Bounds: one firing of a schedule is open at a time; Sending of all schedules' are sent at once, and Retrying of those that
// were sent before, so that what fails does not delay what is due. What waits is what is due.
package book
