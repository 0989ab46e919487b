// Package pgtest runs private Postgres clusters, for tests and for programs that need one for a while.
//
//	cluster := pgtest.Start(t, pgtest.Options{})
//	backend := open(cluster.SchemaURL(t))  // a schema of its own in a cluster that tests may share
//	cluster.Kill9()                        // every process at once, as a power cut would
//	cluster.StartAgain(ctx)                // same data, same port, crash recovery done
//
// A cluster is as durable as one in production (fsync and synchronous_commit are on), listens on a port of 127.0.0.1 that it
// keeps over restarts, lets everybody in as the superuser "parley", and has everything in one temporary directory. It ends with
// its test; where the platform allows, the kernel ends it too when the test process dies in another way, and a later process
// removes what that one left on disk.
//
// The binaries are those of the newest installed Postgres, from PATH or from where Debian puts them. Postgres refuses to run as
// root, so root runs it as the user "postgres", or else "nobody".
//
// Proxy is put between a client and a cluster to break the network between them, and SmallDisk is a disk to fill.
//
// A Cluster's methods may be called by several goroutines; those that start, stop, pause and resume wait for each other.
package pgtest
