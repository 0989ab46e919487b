// Package cron reads cron expressions and tells when they are due: five fields, or one of @yearly, @annually, @monthly,
// @weekly, @daily, @midnight, @hourly and @every <duration>. It is pure: no clock, no I/O.
//
// Fields are minute, hour, day of the month, month, day of the week (0 and 7 are Sunday), each a comma-separated list of
// "*", a value, a range a-b, or one of these with a step /n; a value with a step, a/n, is a range up to the field's end.
// Months and days of the week also have their English three-letter names. "?" is "*". When both days are restricted, that is
// when neither field is "*" or "?", a day that matches either of them is due, as in every cron.
//
// A schedule has its own time zone. Around a change of the clocks the rules are those of RFC 5545 for local times:
//
//   - A local time that the clocks skip is due as if they had not been moved yet: 02:30 comes at 03:30 where 02:00 becomes
//     03:00. So nothing is lost. Times that fall together are one.
//   - A local time that comes twice is due the first time only. Schedules for every hour of the day are due both times, so
//     that they go on with real time.
//
// @every counts real time from an anchor and knows neither days nor zones.
package cron
