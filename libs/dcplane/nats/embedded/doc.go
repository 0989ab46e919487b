// Package embedded runs a NATS server with JetStream inside the process, for development and tests: the control plane of
// a deployment that has nothing installed.
//
// It opens no port unless asked to; a directory in the same process connects through InProcessConn:
//
//	server, err := embedded.Start(ctx, embedded.Config{Dir: "data/nats"})
//	dir, err := nats.Connect(ctx, nats.Config{InProcess: server})
//
// The directory on disk belongs to one server at a time. That is enforced by a lock of the operating system, which dies
// with its process, so neither kill -9 nor a left-over file is in the way of the next start.
package embedded
