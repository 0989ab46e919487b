// Package benchtest measures a journal against limits: closed loops whose CPU time is known on both sides of the
// connection, rounds that alternate between what is compared, the references that are compared with, and a table of the
// results.
//
//	meter := benchtest.Meter{Postmaster: cluster.PID(), WAL: lsn}
//	loads := benchtest.Alternate(5,
//		func() benchtest.Load { return meter.Closed(b, 1000, 1, time.Second, appendOne) },
//		func() benchtest.Load { return meter.Closed(b, 1000, 1, time.Second, insertOne) })
//	table.Rate("group commit", benchtest.AtLeast(0.6), loads[0], loads[1], "")
//
// A rate says more about the machine's other work than about the journal, so everything is compared with something that ran
// beside it, round by round.
package benchtest
