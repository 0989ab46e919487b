// Package harness runs the built parley binary for black-box tests.
//
//	server := harness.StartDev(t)        // go build, parley dev on free ports, ready
//	dial(server.WebSocket())
//	server.Kill9()                       // SIGKILL to the whole process group
//	server.Restart()                     // same data, same ports, ready again
//
// A Server belongs to one test and is ended with it; where the platform allows, the kernel ends it too when the test
// process dies in another way. Everything it prints is kept and shown when the test fails. The binary is built once per
// test process.
//
// StartDevOn does the same on each of the Journals. Postgres is a private cluster, which the first test that wants it starts
// (it must be installed: apt-get install -y --no-install-recommends postgresql) and which ends with the test process; each
// server has a schema of its own there. StartCluster gives a test one that it may kill, pause and start again.
//
// Environment: PARLEY_E2E_RACE=1 builds it with the race detector (a report fails the test); PARLEY_E2E_BINARY=FILE tests
// that binary instead of building one; PARLEY_E2E_LOGS=DIR also keeps the servers' output there.
//
// A Server's methods are for one goroutine at a time; the addresses may be read by all.
package harness
