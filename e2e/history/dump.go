package history

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"
)

// Dump writes everything that happened in the room in the order of time, for people.
func (r *Record) Dump(out io.Writer) error {
	type line struct {
		at   time.Duration
		text string
	}
	var lines []line
	add := func(at time.Duration, format string, args ...any) {
		lines = append(lines, line{at, fmt.Sprintf(format, args...)})
	}
	for _, c := range r.Chains {
		for i, conn := range c.Conns {
			add(conn.Opened, "%s connected (%d) to %s", c.Name, i, conn.Gateway)
			if conn.Ended > 0 {
				add(conn.Ended, "%s disconnected (%d)", c.Name, i)
			}
		}
		for _, a := range c.Attempts {
			add(a.Asked, "%s asked for %d (%d)", c.Name, a.N, a.Conn)
			if a.Outcome != Unanswered {
				add(a.Answered, "%s was told that %d is %s %s at %d, after %v", c.Name, a.N, a.Outcome, a.Code, a.Seq, round(a.Answered-a.Asked))
			}
		}
	}
	for _, s := range r.Streams {
		for _, e := range s.Events {
			switch e.Kind {
			case Joined:
				after := "the head"
				if e.Place.After != nil {
					after = fmt.Sprint(*e.Place.After)
				}
				add(e.At, "%s is in the room from %s on; head %d, recovered %v, incarnation %d", s.Member, after, e.Place.Seq, e.Place.Recovered, e.Place.Incarnation)
			case Received:
				add(e.At, "%s got %d (after %d): %s", s.Member, e.Entry.Seq, e.Entry.Prev, e.Entry.ID)
			case Reset:
				add(e.At, "%s was reset to %d: %s", s.Member, e.Place.Seq, e.Place.Reason)
			case Leaving:
				add(e.At, "%s asks to leave", s.Member)
			case Away:
				add(e.At, "%s is away", s.Member)
			}
		}
	}
	for i, c := range r.Claims {
		if i == 0 || c.Epoch != r.Claims[i-1].Epoch || c.Owner != r.Claims[i-1].Owner {
			add(c.At, "the writer is %q in epoch %d", c.Owner, c.Epoch)
		}
	}
	for _, h := range r.Healings {
		add(h.From, "the faults have ended")
		add(h.To, "there may be faults again")
	}
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(a.at, b.at) })
	for _, l := range lines {
		if _, err := fmt.Fprintf(out, "%12v %s\n", l.at.Round(100*time.Microsecond), l.text); err != nil {
			return fmt.Errorf("dump the history of %s: %w", r.Room, err)
		}
	}
	return nil
}
