// Package scheduler is the service that publishes messages into rooms at a time, after a delay, or by cron: each firing once,
// whatever crashes.
//
//	svc, err := scheduler.New(scheduler.Config{DC: "dc-a", Node: "scheduler-1"}, scheduler.Deps{Backend: backend, Directory: directory})
//	err = svc.Start(ctx)
//	…
//	err = svc.Stop(ctx) // gives the schedule book back, then stops
//
// All nodes compete for the schedule book; the one that has it starts what is due and sends it to the rooms, the others take
// requests to it. A process runs two actor systems for it: a clustered one with nothing in it but the node's door and its Links
// (actorkit.Node), and a local one with the book. The backend and the directory belong to the caller.
package scheduler
