package chaostest

import "fmt"

func (c *counts) String() string {
	return fmt.Sprintf("%d events in %d appends, %d claims / %d fenced, %d unknown, %d unavailable, %d overloaded; "+
		"%d recoveries, %d snapshots, %d trims, %d events read, %d fed, %d checkpoints / %d fenced, %d resumes, %d lease terms (%d lapsed), %d takeovers listed",
		c.events.Load(), c.appends.Load(), c.claims.Load(), c.fenced.Load(), c.unknown.Load(), c.unavailable.Load(), c.overloaded.Load(),
		c.recovered.Load(), c.snapshots.Load(), c.trims.Load(), c.read.Load(), c.fed.Load(), c.checkpoints.Load(), c.consumersFenced.Load(),
		c.resumes.Load(), c.terms.Load(), c.lapses.Load(), c.takeovers.Load())
}
