package cron

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// MaxExpression bounds an expression, in bytes.
const MaxExpression = 256

// MinEvery and MaxEvery bound the interval of @every.
const (
	MinEvery = time.Second
	MaxEvery = 10 * 365 * 24 * time.Hour
)

// ErrExpression is wrapped by every error of Parse.
var ErrExpression = errors.New("not a cron expression")

// Expression says when something is due. The zero value is of no use. Values are immutable.
type Expression struct {
	// every is not 0 for @every, and all else is 0 then.
	every time.Duration
	// Bit i is set when value i matches. Days of the week are 0 to 6.
	minutes, hours, days, months, weekdays uint64
	// anyDay and anyWeekday: the field restricts nothing.
	anyDay, anyWeekday bool
}

// Every returns the interval of @every; 0: the expression is another one.
func (e Expression) Every() time.Duration { return e.every }

var aliases = map[string]string{
	"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
	"@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}

// Parse reads an expression. Errors wrap ErrExpression and say which field is wrong and why.
func Parse(s string) (Expression, error) {
	e, err := parse(s)
	if err != nil {
		return Expression{}, fmt.Errorf("%w: %w", ErrExpression, err)
	}
	return e, nil
}

func parse(s string) (Expression, error) {
	if len(s) > MaxExpression {
		return Expression{}, fmt.Errorf("it has %d bytes, at most %d are read", len(s), MaxExpression)
	}
	s = strings.TrimSpace(s)
	upper := strings.ToUpper(s)
	switch {
	case s == "":
		return Expression{}, errors.New("it is empty")
	case strings.HasPrefix(upper, "TZ=") || strings.HasPrefix(upper, "CRON_TZ="):
		return Expression{}, errors.New("the time zone is a setting of its own and no part of the expression")
	case s[0] == '@':
		return parseAlias(s)
	}
	fields := strings.Fields(s)
	if len(fields) != 5 {
		return Expression{}, fmt.Errorf("it has %d fields instead of 5: minute, hour, day of the month, month, day of the week", len(fields))
	}
	var e Expression
	for i, f := range []struct {
		field
		into *uint64
	}{{minute, &e.minutes}, {hour, &e.hours}, {day, &e.days}, {month, &e.months}, {weekday, &e.weekdays}} {
		set, err := f.parse(fields[i])
		if err != nil {
			return Expression{}, fmt.Errorf("%s: %w", f.name, err)
		}
		*f.into = set
	}
	if e.weekdays&(1<<7) != 0 {
		e.weekdays = e.weekdays&^(1<<7) | 1
	}
	e.anyDay, e.anyWeekday = isAny(fields[2]), isAny(fields[4])
	if e.anyWeekday && !e.possible() {
		return Expression{}, errors.New("none of its months has such a day")
	}
	return e, nil
}

func parseAlias(s string) (Expression, error) {
	name, argument, _ := strings.Cut(s, " ")
	name, argument = strings.ToLower(name), strings.TrimSpace(argument)
	if name == "@every" {
		every, err := time.ParseDuration(argument)
		switch {
		case err != nil:
			return Expression{}, errors.New(`@every needs a duration such as "90m" or "1h30m"`)
		case every < MinEvery || every > MaxEvery:
			return Expression{}, fmt.Errorf("@every must be between %s and %s", MinEvery, MaxEvery)
		case every%time.Second != 0:
			return Expression{}, errors.New("@every counts whole seconds")
		}
		return Expression{every: every}, nil
	}
	fields, known := aliases[name]
	if !known || argument != "" {
		return Expression{}, errors.New("known are @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly and @every <duration>")
	}
	return parse(fields)
}

func isAny(field string) bool { return field == "*" || field == "?" }

// possible tells whether there is a day of the month that matches: 30 February is none.
func (e Expression) possible() bool {
	for m := time.January; m <= time.December; m++ {
		if e.months&(1<<m) != 0 && bits.TrailingZeros64(e.days) <= longest(m) {
			return true
		}
	}
	return false
}

// longest is how many days a month has at most.
func longest(m time.Month) int {
	if m == time.February {
		return 29
	}
	return daysIn(m, 2001)
}

// field is what one of the five may hold.
type field struct {
	name     string
	min, max int
	names    []string // of the values from min on
}

var (
	minute  = field{name: "minute", min: 0, max: 59}
	hour    = field{name: "hour", min: 0, max: 23}
	day     = field{name: "day of the month", min: 1, max: 31}
	month   = field{name: "month", min: 1, max: 12, names: strings.Fields("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC")}
	weekday = field{name: "day of the week", min: 0, max: 7, names: strings.Fields("SUN MON TUE WED THU FRI SAT")}
)

func (f field) parse(s string) (uint64, error) {
	var set uint64
	for part := range strings.SplitSeq(s, ",") {
		bits, err := f.parsePart(part)
		if err != nil {
			return 0, err
		}
		set |= bits
	}
	return set, nil
}

func (f field) parsePart(part string) (uint64, error) {
	span, stepText, stepped := strings.Cut(part, "/")
	step := 1
	if stepped {
		var err error
		if step, err = number(stepText); err != nil || step < 1 || step > f.max {
			return 0, fmt.Errorf("%q: a step is a number from 1 to %d", part, f.max)
		}
	}
	first, last := f.min, f.max
	if f.max == weekday.max && isAny(span) {
		last = 6 // else a step could count Sunday twice
	}
	if !isAny(span) {
		from, to, ranged := strings.Cut(span, "-")
		var err error
		if first, err = f.value(from); err != nil {
			return 0, err
		}
		switch {
		case ranged:
			if last, err = f.value(to); err != nil {
				return 0, err
			}
			if last < first {
				return 0, fmt.Errorf("%q: a range begins with the smaller value", part)
			}
		case stepped:
			if f.max == weekday.max {
				last = max(first, 6)
			}
		default:
			last = first
		}
	}
	var set uint64
	for v := first; v <= last; v += step {
		set |= 1 << v
	}
	return set, nil
}

func (f field) value(s string) (int, error) {
	for i, name := range f.names {
		if strings.EqualFold(s, name) {
			return f.min + i, nil
		}
	}
	v, err := number(s)
	if err != nil || v < f.min || v > f.max {
		return 0, fmt.Errorf("%q is not a value from %d to %d", s, f.min, f.max)
	}
	return v, nil
}

// number reads one or two digits, nothing else: no sign, no spaces.
func number(s string) (int, error) {
	if len(s) == 0 || len(s) > 2 {
		return 0, strconv.ErrSyntax
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, strconv.ErrSyntax
		}
	}
	return strconv.Atoi(s)
}
