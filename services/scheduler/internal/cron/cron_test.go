package cron_test

import (
	"os"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/services/scheduler/internal/cron"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	require.NoError(t, err)
	return loc
}

// The table that people read: each line was worked out by hand from the rules of the zone.
func TestDue(t *testing.T) {
	t.Parallel()
	table, err := os.ReadFile("testdata/due.golden")
	require.NoError(t, err)
	cases := 0
	for block := range strings.SplitSeq(string(table), "\n\n") {
		var lines []string
		for line := range strings.Lines(block) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				lines = append(lines, line)
			}
		}
		if len(lines) == 0 {
			continue
		}
		cases++
		head := strings.Split(lines[0], " | ")
		require.Len(t, head, 3, lines[0])
		loc := zone(t, head[0])
		e, err := cron.Parse(head[1])
		require.NoError(t, err, lines[0])
		at, err := time.Parse(time.RFC3339, head[2])
		require.NoError(t, err)
		require.Equal(t, at.Format(time.RFC3339), at.In(loc).Format(time.RFC3339), "the table's own time is right: %s", lines[0])
		require.Greater(t, len(lines), 1, lines[0])
		for _, want := range lines[1:] {
			next, ok := e.Next(at, loc, time.Time{})
			require.True(t, ok, lines[0])
			require.Equal(t, want, next.Format(time.RFC3339), "%s: after %s", lines[0], at.In(loc).Format(time.RFC3339))
			at = next
		}
	}
	require.GreaterOrEqual(t, cases, 35)
}

func TestEvery(t *testing.T) {
	t.Parallel()
	e, err := cron.Parse("@every 90m")
	require.NoError(t, err)
	require.Equal(t, 90*time.Minute, e.Every())
	loc := zone(t, "Europe/Berlin")
	anchor := time.Date(2026, 3, 29, 0, 0, 0, 0, loc)
	var got []string
	at := anchor
	for range 3 {
		at, _ = e.Next(at, loc, anchor)
		got = append(got, at.In(loc).Format(time.RFC3339))
	}
	require.Equal(t, []string{"2026-03-29T01:30:00+01:00", "2026-03-29T04:00:00+02:00", "2026-03-29T05:30:00+02:00"}, got, "real time, whatever the clocks do")

	// The series does not depend on when it is asked.
	for _, c := range []struct{ ask, want time.Duration }{
		{-time.Hour, 90 * time.Minute}, {0, 90 * time.Minute}, {time.Nanosecond, 90 * time.Minute}, {90*time.Minute - 1, 90 * time.Minute},
		{90 * time.Minute, 180 * time.Minute}, {1000 * time.Hour, 1000*time.Hour + 30*time.Minute},
	} {
		next, ok := e.Next(anchor.Add(c.ask), loc, anchor)
		require.True(t, ok)
		require.Equal(t, anchor.Add(c.want).Unix(), next.Unix(), c.ask)
	}
	// An anchor between two seconds counts from the later one.
	next, _ := e.Next(anchor, loc, anchor.Add(time.Millisecond))
	require.Equal(t, anchor.Add(90*time.Minute+time.Second).Unix(), next.Unix())
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for expression, say := range map[string]string{
		"":                       "empty",
		"   ":                    "empty",
		"* * * *":                "4 fields",
		"* * * * * *":            "6 fields",
		"60 * * * *":             `minute: "60" is not a value from 0 to 59`,
		"* 24 * * *":             "hour",
		"* * 0 * *":              "day of the month",
		"* * 32 * *":             "day of the month",
		"* * * 13 *":             "month",
		"* * * 0 *":              "month",
		"* * * * 8":              "day of the week",
		"* * * MON *":            "month",
		"* * * * JAN":            "day of the week",
		"5-1 * * * *":            "smaller value",
		"*/0 * * * *":            "a step is a number",
		"*/60 * * * *":           "a step is a number",
		"*/x * * * *":            "a step is a number",
		"1/ * * * *":             "a step is a number",
		"-1 * * * *":             "minute",
		"+1 * * * *":             "minute",
		"1,,2 * * * *":           "minute",
		"1,2, * * * *":           "minute",
		"1-2-3 * * * *":          "minute",
		"** * * * *":             "minute",
		"1.5 * * * *":            "minute",
		"001 * * * *":            "minute",
		"0 0 30 2 *":             "none of its months",
		"0 0 31 4,6,9,11 *":      "none of its months",
		"L * * * *":              "minute",
		"@reboot":                "@daily",
		"@daily 5":               "@daily",
		"@every":                 "duration",
		"@every 5":               "duration",
		"@every 100ms":           "between",
		"@every 1500ms":          "whole seconds",
		"@every -5s":             "between",
		"@every 999999h":         "between",
		"@every 1h @every 1h":    "duration",
		"CRON_TZ=UTC 0 0 * * *":  "time zone",
		"TZ=UTC 0 0 * * *":       "time zone",
		strings.Repeat("*", 300): "at most",
	} {
		_, err := cron.Parse(expression)
		require.ErrorIs(t, err, cron.ErrExpression, "%q", expression)
		require.ErrorContains(t, err, say, "%q", expression)
	}
}

func TestSameMeaning(t *testing.T) {
	t.Parallel()
	for a, b := range map[string]string{
		"@hourly":          "0 * * * *",
		"@Daily":           "0 0 * * *",
		" 0  0\t* * * ":    "0 0 * * *",
		"0 0 ? * MON":      "0 0 * * 1",
		"0 0 * JAN-MAR ?":  "0 0 * 1,2,3 *",
		"0 0 * * */2":      "0 0 * * 0,2,4,6",
		"0 0 * * 6-7":      "0 0 * * 0,6",
		"0 0 * * 3/2":      "0 0 * * 3,5",
		"10-30/10 * * * *": "10,20,30 * * * *",
	} {
		x, err := cron.Parse(a)
		require.NoError(t, err, a)
		y, err := cron.Parse(b)
		require.NoError(t, err, b)
		require.Equal(t, y, x, "%q %q", a, b)
	}
}

// The end of time is no endless loop.
func TestNothingComesAfterTheLastYear(t *testing.T) {
	t.Parallel()
	e, err := cron.Parse("0 0 29 2 *")
	require.NoError(t, err)
	for _, name := range []string{"UTC", "Europe/Berlin", "Asia/Kathmandu"} {
		_, ok := e.Next(time.Date(9999, 3, 1, 0, 0, 0, 0, time.UTC), zone(t, name), time.Time{})
		require.False(t, ok, name)
	}
}

func BenchmarkNext(b *testing.B) {
	for _, expression := range []string{"*/5 * * * *", "30 2 * * 1-5", "0 0 29 2 *"} {
		b.Run(expression, func(b *testing.B) {
			e, err := cron.Parse(expression)
			require.NoError(b, err)
			loc := zone(b, "America/Los_Angeles")
			at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			b.ReportAllocs()
			for b.Loop() {
				at, _ = e.Next(at, loc, time.Time{})
				if at.Year() > 2040 {
					at = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
				}
			}
		})
	}
}
