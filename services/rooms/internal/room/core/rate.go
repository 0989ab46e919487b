package core

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"

	"github.com/parley-rt/parley/libs/ratelimit"
)

// Gauge is what a room's writer keeps about its rates from batch to batch. What was used is neither stored nor handed over: another
// writer begins with all of it.
type Gauge struct {
	service *ratelimit.Own // what holds where the settings say nothing
	used    ratelimit.Meter
	of      *journalv1.Settings // limit is theirs
	limit   ratelimit.Limit
}

// NewGauge returns one that has used nothing.
func NewGauge(service *ratelimit.Own) *Gauge { return &Gauge{service: service, limit: service.Limit()} }

// set takes over what the settings say. Another limit begins unused: what was used of a narrow one could keep a wide one closed for
// long, and settings do not change often.
func (g *Gauge) set(s *journalv1.Settings) {
	if s == g.of {
		return
	}
	limit := g.service.Limit()
	override(&limit.Pieces, s.GetMessageRate())
	override(&limit.Bytes, s.GetByteRate())
	if limit != g.limit {
		g.used = ratelimit.Meter{}
	}
	g.of, g.limit = s, limit
}

// override leaves the service's rate when a later version has written one that this one does not know how to keep.
func override(to *ratelimit.Rate, from *journalv1.Rate) {
	if r := (ratelimit.Rate{PerSecond: from.GetPerSecond(), Burst: from.GetBurst()}); !r.Off() && r.Check() == nil {
		*to = r
	}
}

// tooMuch returns the refusal of a message for which the room gets too many. Once one of a batch is refused, so are those behind it,
// which would overtake it otherwise: each is told when it passes behind those before it, which owed adds up. What no member asked for
// is not limited.
func (d *Draft) tooMuch(p *roomv1.Publish, m *roomv1.Draft, owed *ratelimit.Cost, now time.Time) *roomv1.Outcome {
	g := d.gauge
	if g == nil || p.Unchecked {
		return nil
	}
	if g.set(d.rights.settings()); g.limit.Off() {
		return nil
	}
	cost := ratelimit.Cost{Pieces: 1, Bytes: len(m.Content)}
	if owed.Pieces == 0 {
		if _, ok := g.service.TakeOf(now, &g.used, g.limit, cost); ok {
			return nil
		}
	}
	owed.Pieces, owed.Bytes = owed.Pieces+cost.Pieces, owed.Bytes+cost.Bytes
	after := g.used.Wait(now, g.limit, *owed)
	return refuse(clientv1.ErrorCode_ERROR_CODE_RATE_LIMITED, "the room gets more messages than it takes",
		uint32(max(1, (after+time.Millisecond-1).Milliseconds())))
}

// checkRate finds what is wrong with a rate that is asked for.
func checkRate(name string, r *journalv1.Rate) error {
	if r == nil {
		return nil
	}
	if _, err := ratelimit.RateOf(r.PerSecond, r.Burst); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// changeRate puts a rate that was checked into settings; one of 0 takes it out.
func changeRate(to **journalv1.Rate, asked *journalv1.Rate) {
	if asked == nil {
		return
	}
	rate, err := ratelimit.RateOf(asked.PerSecond, asked.Burst)
	switch next := (&journalv1.Rate{PerSecond: rate.PerSecond, Burst: rate.Burst}); {
	case err != nil || rate.Off():
		*to = nil
	case !proto.Equal(*to, next):
		*to = next
	}
}
