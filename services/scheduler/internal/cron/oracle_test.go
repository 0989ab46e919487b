package cron_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/parley-rt/parley/services/scheduler/internal/cron"
)

// matches reads an expression as plainly as can be: whether that local time is named by it.
func matches(expression string, t time.Time) bool {
	f := strings.Fields(expression)
	in := func(field string, v, lo, hi int) bool {
		for part := range strings.SplitSeq(field, ",") {
			span, step := part, 1
			if a, b, ok := strings.Cut(part, "/"); ok {
				span = a
				step, _ = strconv.Atoi(b)
			}
			from, to := lo, hi
			if span != "*" {
				a, b, ranged := strings.Cut(span, "-")
				from, _ = strconv.Atoi(a)
				switch {
				case ranged:
					to, _ = strconv.Atoi(b)
				case span == part:
					to = from
				}
			}
			for x := from; x <= to; x += step {
				if x == v {
					return true
				}
			}
		}
		return false
	}
	if !in(f[0], t.Minute(), 0, 59) || !in(f[1], t.Hour(), 0, 23) || !in(f[3], int(t.Month()), 1, 12) {
		return false
	}
	ofMonth := in(f[2], t.Day(), 1, 31)
	ofWeek := in(f[4], int(t.Weekday()), 0, 6) || in(f[4], int(t.Weekday())+7, 0, 7)
	if f[2] != "*" && f[4] != "*" {
		return ofMonth || ofWeek
	}
	return ofMonth && ofWeek
}

// oracle goes through every minute of real time, notes which local times there are, and then through every minute of local time.
// It returns what is due after from and up to to.
func oracle(expression string, loc *time.Location, from, to time.Time) []int64 {
	// A day and more on both sides: gaps are up to a day long.
	const margin = 26 * 60 * 60
	instants := map[int64][]int64{}
	first, last := int64(0), int64(0)
	for at := from.Unix() - margin; at <= to.Unix()+margin; at += 60 {
		_, offset := time.Unix(at, 0).In(loc).Zone()
		local := at + int64(offset)
		instants[local] = append(instants[local], at)
		if first == 0 || local < first {
			first = local
		}
		last = max(last, local)
	}
	everyHour := true
	for h := range 24 {
		everyHour = everyHour && matches("* "+strings.Fields(expression)[1]+" * * *", time.Date(2026, 1, 1, h, 0, 0, 0, time.UTC))
	}
	var due []int64
	lastSeen := int64(0)
	for local := first; local <= last; local += 60 {
		at := instants[local]
		if len(at) > 0 {
			lastSeen = local
		}
		if !matches(expression, time.Unix(local, 0).UTC()) {
			continue
		}
		switch {
		case len(at) == 0:
			before := instants[lastSeen]
			due = append(due, before[len(before)-1]+local-lastSeen)
		case everyHour:
			due = append(due, at...)
		default:
			due = append(due, at[0])
		}
	}
	slices.Sort(due)
	due = slices.Compact(due)
	return slices.DeleteFunc(due, func(at int64) bool { return at <= from.Unix() || at > to.Unix() })
}

// Changes of the clocks of every kind, as days around which to look.
var changes = []struct{ zone, day string }{
	{"America/Los_Angeles", "2026-03-08"}, {"America/Los_Angeles", "2026-11-01"},
	{"Europe/Berlin", "2026-03-29"}, {"Europe/Berlin", "2026-10-25"},
	{"Europe/London", "2027-03-28"}, {"Europe/London", "2027-10-31"},
	{"Australia/Lord_Howe", "2026-04-05"}, {"Australia/Lord_Howe", "2026-10-04"},
	{"Asia/Beirut", "2026-03-29"}, {"Asia/Beirut", "2026-10-25"},
	{"America/Santiago", "2026-09-06"}, {"America/Santiago", "2026-04-05"},
	{"Africa/Cairo", "2026-04-24"}, {"Africa/Cairo", "2026-10-30"},
	{"America/Havana", "2026-03-08"}, {"America/Havana", "2026-11-01"},
	{"Asia/Gaza", "2026-03-28"}, {"Asia/Gaza", "2026-10-24"},
	{"Africa/Casablanca", "2026-02-15"}, {"Africa/Casablanca", "2026-03-22"}, // for Ramadan, the other way round
	{"Pacific/Apia", "2011-12-30"},      // a day less
	{"America/Caracas", "2016-05-01"},   // half an hour, for good
	{"Asia/Pyongyang", "2018-05-05"},    // half an hour
	{"Antarctica/Troll", "2026-03-29"},  // two hours
	{"Antarctica/Casey", "2018-03-11"},  // three hours
	{"Europe/Istanbul", "2015-11-08"},   // later than planned
	{"America/Sao_Paulo", "2018-11-04"}, // at midnight
	{"Pacific/Kwajalein", "1993-08-21"}, // another day less
	{"Asia/Kathmandu", "2026-01-01"},    // none, at 5:45
	{"UTC", "2028-02-29"},
	{"America/Los_Angeles", "2044-12-31"}, {"America/Los_Angeles", "2044-03-13"}, {"Australia/Lord_Howe", "2048-12-31"}, // computed, not listed
}

func anExpression(t *rapid.T) string {
	part := func(label string, lo, hi int) string {
		value := rapid.IntRange(lo, hi)
		var parts []string
		for range rapid.IntRange(1, 3).Draw(t, label) {
			a, b := value.Draw(t, label), value.Draw(t, label)
			switch rapid.IntRange(0, 4).Draw(t, label) {
			case 0:
				parts = append(parts, fmt.Sprint(a))
			case 1:
				parts = append(parts, fmt.Sprintf("%d-%d", min(a, b), max(a, b)))
			case 2:
				parts = append(parts, fmt.Sprintf("%d-%d/%d", min(a, b), max(a, b), rapid.IntRange(1, min(hi, 12)).Draw(t, label)))
			case 3:
				parts = append(parts, fmt.Sprintf("*/%d", rapid.IntRange(1, min(hi, 30)).Draw(t, label)))
			default:
				return "*"
			}
		}
		return strings.Join(parts, ",")
	}
	days, months := "*", "*"
	if rapid.IntRange(0, 3).Draw(t, "any day") == 0 {
		days = part("day", 1, 31)
	}
	if rapid.IntRange(0, 7).Draw(t, "any month") == 0 {
		months = part("month", 1, 12)
	}
	weekdays := "*"
	if rapid.IntRange(0, 3).Draw(t, "any weekday") == 0 {
		weekdays = part("weekday", 0, 6)
	}
	// Mostly the hours in which clocks are moved.
	hours := rapid.SampledFrom([]string{"*", "0", "1", "2", "3", "23", "0-3", "1,2", "*/2", "2-4/2", "22-23", "0-23", ""}).Draw(t, "hours")
	if hours == "" {
		hours = part("hour", 0, 23)
	}
	return strings.Join([]string{part("minute", 0, 59), hours, days, months, weekdays}, " ")
}

// Whatever the expression and the change of the clocks: what Next tells, one after the other, is what a walk over all minutes
// finds.
func TestNextIsWhatEveryMinuteTells(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		change := rapid.SampledFrom(changes).Draw(t, "change")
		loc, err := time.LoadLocation(change.zone)
		require.NoError(t, err)
		noon, err := time.ParseInLocation(time.DateOnly, change.day, loc)
		require.NoError(t, err)
		expression := anExpression(t)
		e, err := cron.Parse(expression)
		if err != nil {
			require.ErrorContains(t, err, "none of its months", expression)
			return
		}
		from := noon.Add(-30*time.Hour + time.Duration(rapid.IntRange(0, 60*60*24).Draw(t, "from"))*time.Second)
		to := from.Add(72 * time.Hour)
		want := oracle(expression, loc, from.Truncate(time.Minute).Add(-time.Minute), to)
		want = slices.DeleteFunc(want, func(at int64) bool { return at <= from.Unix() })
		var got []int64
		for at := from; ; {
			next, ok := e.Next(at, loc, time.Time{})
			if !ok || next.After(to) {
				break
			}
			require.True(t, next.After(at))
			got = append(got, next.Unix())
			at = next
		}
		require.Equal(t, show(want, loc), show(got, loc), "%s in %s after %s", expression, change.zone, from)
	})
}

func show(at []int64, loc *time.Location) []string {
	s := make([]string, len(at))
	for i, a := range at {
		s[i] = time.Unix(a, 0).In(loc).Format(time.RFC3339)
	}
	return s
}

// Whatever is given: no panic, no endless loop, and what comes next comes later, whole and the same when asked just before it.
func FuzzNext(f *testing.F) {
	for _, s := range []string{
		"* * * * *", "30 2 * * *", "0 0 29 2 *", "*/7 1-5/2,22 31 */2 FRI-SUN", "@every 90m", "@weekly", "0 0 30 2 1", "? ? ? ? ?", "5/20 0 * * 7",
	} {
		for _, z := range []string{"UTC", "America/Los_Angeles", "Australia/Lord_Howe", "Asia/Beirut", "Pacific/Apia"} {
			f.Add(s, z, int64(1_772_928_000))
			f.Add(s, z, int64(1_325_200_000))
		}
	}
	f.Fuzz(func(t *testing.T, s, z string, at int64) {
		e, err := cron.Parse(s)
		if err != nil {
			require.ErrorIs(t, err, cron.ErrExpression)
			return
		}
		loc, err := time.LoadLocation(z)
		if err != nil {
			return
		}
		const end = 253_402_300_800 // of the year 9999
		after := time.Unix(((at%end)+end)%end, 0)
		anchor := time.Unix(0, 0)
		next, ok := e.Next(after, loc, anchor)
		if !ok {
			return
		}
		require.True(t, next.After(after))
		again, ok := e.Next(next.Add(-time.Second), loc, anchor)
		require.True(t, ok)
		require.Equal(t, next.Unix(), again.Unix())
		if e.Every() == 0 && next.Year() > 1950 {
			require.Zero(t, next.Second())
		}
	})
}
