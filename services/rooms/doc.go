// Package rooms is the service that writes rooms: it numbers and stores their messages, keeps their memberships, and
// sends what is new to the gateway nodes.
//
//	svc, err := rooms.New(rooms.Config{DC: "dc-a", Node: "rooms-1"}, rooms.Deps{Backend: backend, Directory: directory})
//	err = svc.Start(ctx)
//	…
//	err = svc.Stop(ctx) // gives all rooms away, then stops
//
// A process runs two actor systems for it: a clustered one with nothing in it but the node's door and its Links
// (actorkit.Node), and a local one with the room host and its rooms. The backend and the directory belong to the caller.
package rooms
