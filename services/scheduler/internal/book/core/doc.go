// Package core is the pure half of the schedule book: what its streams mean and what a command decides on them. It knows
// neither actors nor clocks nor rooms; the shell around it (package book) brings them.
//
// State is one stream, schedules/<n>: some schedules and a heap of the times at which something is to be done about them.
// Draft is an overlay for one batch of commands: it clones what the batch touches and is dropped if the batch cannot be stored.
//
// A schedule's life:
//
//	created ─► due ── FiringStarted ─► firing open ── FiringEnded ─► due … ─► ended ── 8 days ─► forgotten
//	             │                         ▲                                    ▲
//	             ├── FiringsMissed ─► due  │ asked for: trigger, replay         │ deleted
//	             └── paused ─► due         └── also when paused or ended        │
//
// The rule of exactly once (S6) is kept here for the sender's part: firings of a schedule are numbered, FiringStarted is durable
// before the firing is sent and keeps what is sent from changing, and no firing is started while one is open. Whoever has the book
// sends the open ones again. The room does the rest: it takes no number twice. Because a room remembers numbers for 7 days, an
// open firing is given up long before, and an id stays taken for 8 days after its schedule's end.
package core
