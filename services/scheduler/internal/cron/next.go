package cron

import (
	"math/bits"
	"time"
)

// lastYear ends the search: no time after it is ever due.
const lastYear = 9999

const everyHour = 1<<24 - 1

// Next returns the first time after the given one at which the expression is due in the zone; false: there is none. The
// anchor is where @every begins to count: the first time is one interval after it. For others it has no meaning.
func (e Expression) Next(after time.Time, zone *time.Location, anchor time.Time) (time.Time, bool) {
	if e.every > 0 {
		return e.nextInterval(after, anchor), true
	}
	// One period of a constant offset after the other. Within it, local times are plain arithmetic.
	for at := after.Unix() + 1; ; {
		p := periodAt(at, zone)
		due, found := e.within(p, at)
		if found && (p.endless || due < p.end) {
			return time.Unix(due, 0).In(zone), true
		}
		if p.endless || !found {
			return time.Time{}, false
		}
		at = p.end
	}
}

func (e Expression) nextInterval(after, anchor time.Time) time.Time {
	every := int64(e.every / time.Second)
	first := anchor.Unix()
	if anchor.Nanosecond() > 0 {
		first++
	}
	past := after.Unix() - first
	k := int64(1)
	if past >= 0 {
		k = past/every + 1
	}
	return time.Unix(first+k*every, 0).In(after.Location())
}

// period is a stretch of time in which a zone has one offset, in seconds of Unix time.
type period struct {
	start, end int64
	offset     int64
	// before is the offset of the period before this one; the same when there is none.
	before int64
	// endless: end means nothing.
	endless bool
}

func periodAt(at int64, zone *time.Location) period {
	t := time.Unix(at, 0).In(zone)
	_, offset := t.Zone()
	p := period{offset: int64(offset), before: int64(offset)}
	start, end := t.ZoneBounds()
	p.endless = end.IsZero()
	if !p.endless {
		// Behind the changes that a zone's file lists, ZoneBounds takes all years for 365 days long: on the last day of a leap
		// year the end that it tells is over. No zone moves its clocks on that day.
		if p.end = end.Unix(); p.end <= at {
			p.end = at + 60*60
		}
	}
	if !start.IsZero() && start.Unix() <= at {
		p.start = start.Unix()
		_, before := start.Add(-time.Second).In(zone).Zone()
		p.before = int64(before)
	}
	return p
}

// within returns the first due time of at least at, by the offset of the period and, where the clocks were put forward at its
// start, by the offset before. It may lie behind the period's end. False: there is none up to the end of time.
func (e Expression) within(p period, at int64) (int64, bool) {
	from := at
	if p.before > p.offset && e.hours != everyHour {
		// The clocks were put back: local times up to here have been before.
		from = max(from, p.start+p.before-p.offset)
	}
	due, found := e.wall(from + p.offset)
	due -= p.offset
	if skipped := p.start + p.offset - p.before; p.before < p.offset && at < skipped {
		// The clocks were put forward: local times of the gap are due by the old offset.
		old, ok := e.wall(at + p.before)
		if old -= p.before; ok && old < skipped && (!found || old < due) {
			return old, true
		}
	}
	return due, found
}

// wall returns the first matching local time of at least from, both in seconds as if local time were UTC.
func (e Expression) wall(from int64) (int64, bool) {
	t := time.Unix(from, 0).UTC()
	if t.Second() > 0 {
		t = t.Add(time.Duration(60-t.Second()) * time.Second)
	}
	year, mon, d := t.Date()
	h, m := t.Hour(), t.Minute()
	if e.matchesDay(year, mon, d) {
		if h, m, ok := e.clock(h, m); ok {
			return time.Date(year, mon, d, h, m, 0, 0, time.UTC).Unix(), true
		}
	}
	for year <= lastYear {
		if e.months&(1<<mon) != 0 {
			for d++; d <= daysIn(mon, year); d++ {
				if e.matchesDay(year, mon, d) {
					h, m, _ := e.clock(0, 0)
					return time.Date(year, mon, d, h, m, 0, 0, time.UTC).Unix(), true
				}
			}
		}
		d = 0
		if mon++; mon > time.December {
			mon = time.January
			year++
		}
	}
	return 0, false
}

// clock returns the first matching hour and minute of a day of at least those given.
func (e Expression) clock(h, m int) (int, int, bool) {
	if e.hours&(1<<h) != 0 {
		if next := bits.TrailingZeros64(e.minutes >> m << m); next < 64 {
			return h, next, true
		}
	}
	next := bits.TrailingZeros64(e.hours >> (h + 1) << (h + 1))
	if next == 64 {
		return 0, 0, false
	}
	return next, bits.TrailingZeros64(e.minutes), true
}

func (e Expression) matchesDay(year int, mon time.Month, d int) bool {
	if e.months&(1<<mon) == 0 {
		return false
	}
	inMonth := e.days&(1<<d) != 0
	inWeek := e.weekdays&(1<<time.Date(year, mon, d, 0, 0, 0, 0, time.UTC).Weekday()) != 0
	switch {
	case e.anyDay:
		return inWeek
	case e.anyWeekday:
		return inMonth
	default:
		return inMonth || inWeek
	}
}

func daysIn(mon time.Month, year int) int {
	return time.Date(year, mon+1, 0, 0, 0, 0, 0, time.UTC).Day()
}
