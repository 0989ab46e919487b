package core

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-rt/parley/libs/protocol/ids"
	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"

	"github.com/parley-rt/parley/services/scheduler/internal/cron"
)

// Limits of a spec.
const (
	MaxContent = 64 << 10
	MaxJitter  = 24 * time.Hour
	MaxZone    = 64
	// MinRetry and MaxRetry bound for how long a firing is tried. Rooms forget a schedule's number 7 days after its use, and a
	// firing must be known or given up long before.
	MinRetry     = 5 * time.Second
	MaxRetry     = 24 * time.Hour
	DefaultRetry = 10 * time.Minute
	// DefaultMisfires is how many missed firings MISFIRE_ALL makes up for, MaxMisfires how many it may.
	DefaultMisfires = 100
	MaxMisfires     = 10_000
)

// Earliest and latest times of a spec.
var (
	earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
)

// FieldError is what is wrong with a field of a spec.
type FieldError struct {
	Field, Problem string
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Problem }

// Check finds what is wrong with a spec: a *FieldError, or nil.
func Check(s *journalv1.ScheduleSpec, zones *Zones) error {
	bad := func(field, format string, args ...any) error {
		return &FieldError{Field: field, Problem: fmt.Sprintf(format, args...)}
	}
	if err := ids.CheckRoom(s.GetRoomId()); err != nil {
		return bad("room_id", "%s", err)
	}
	switch {
	case len(s.Content) == 0 || len(s.Content) > MaxContent:
		return bad("content", "it must have 1 to %d bytes, it has %d", MaxContent, len(s.Content))
	case !utf8.ValidString(s.Content):
		return bad("content", "it is not UTF-8")
	}
	if s.Sender != "" {
		if err := ids.CheckMember(s.Sender); err != nil {
			return bad("sender", "%s", err)
		}
	}
	if err := checkTiming(s, zones, bad); err != nil {
		return err
	}
	if err := checkSpan("jitter", s.Jitter, 0, MaxJitter); err != nil {
		return err
	}
	if s.RetryFor != nil {
		if err := checkSpan("retry_for", s.RetryFor, MinRetry, MaxRetry); err != nil {
			return err
		}
	}
	switch {
	case journalv1.Misfire_name[int32(s.Misfire)] == "":
		return bad("misfire", "%d is no policy", s.Misfire)
	case s.MisfireCap != 0 && s.Misfire != journalv1.Misfire_MISFIRE_ALL:
		return bad("misfire_cap", "it is of MISFIRE_ALL only")
	case s.MisfireCap > MaxMisfires:
		return bad("misfire_cap", "at most %d firings are made up for", MaxMisfires)
	}
	return nil
}

func checkTiming(s *journalv1.ScheduleSpec, zones *Zones, bad func(string, string, ...any) error) error {
	switch t := s.Timing.(type) {
	case *journalv1.ScheduleSpec_At:
		if err := checkTime("at", t.At); err != nil {
			return err
		}
		switch {
		case s.TimeZone != "":
			return bad("time_zone", "a time has none: it is of cron only")
		case s.StartsAt != nil:
			return bad("starts_at", "it is of cron only")
		case s.EndsAt != nil:
			return bad("ends_at", "it is of cron only")
		case s.MaxFirings > 1:
			return bad("max_firings", "what is due at one time fires once")
		}
	case *journalv1.ScheduleSpec_Cron:
		if _, err := cron.Parse(t.Cron); err != nil {
			return bad("cron", "%s", err)
		}
		if _, err := zones.Get(s.TimeZone); err != nil {
			return bad("time_zone", "%s", err)
		}
		for field, at := range map[string]*timestamppb.Timestamp{"starts_at": s.StartsAt, "ends_at": s.EndsAt} {
			if at != nil {
				if err := checkTime(field, at); err != nil {
					return err
				}
			}
		}
		if s.StartsAt != nil && s.EndsAt != nil && s.EndsAt.AsTime().Before(s.StartsAt.AsTime()) {
			return bad("ends_at", "it is before starts_at")
		}
	default:
		return bad("timing", "say when: at, after or cron")
	}
	return nil
}

func checkTime(field string, at *timestamppb.Timestamp) error {
	if err := at.CheckValid(); err != nil {
		return &FieldError{Field: field, Problem: "it is not a valid time"}
	}
	if t := at.AsTime(); t.Before(earliest) || t.After(latest) {
		return &FieldError{Field: field, Problem: fmt.Sprintf("it must be between the years %d and %d", earliest.Year(), latest.Year())}
	}
	return nil
}

func checkSpan(field string, d *durationpb.Duration, least, most time.Duration) error {
	if d == nil {
		return nil
	}
	if err := d.CheckValid(); err != nil || d.AsDuration() < least || d.AsDuration() > most {
		return &FieldError{Field: field, Problem: fmt.Sprintf("it must be between %s and %s", least, most)}
	}
	return nil
}

// RetryFor is for how long a firing of the spec is tried.
func RetryFor(s *journalv1.ScheduleSpec) time.Duration {
	if s.RetryFor == nil {
		return DefaultRetry
	}
	return s.RetryFor.AsDuration()
}

// Sender is in whose name a schedule publishes.
func Sender(id string, s *journalv1.ScheduleSpec) string {
	if s.Sender != "" {
		return s.Sender
	}
	return ids.ScheduleMember(id)
}

func validZoneName(name string) bool {
	return len(name) <= MaxZone && !strings.EqualFold(name, "local") && !strings.Contains(name, "..") && !strings.HasPrefix(name, "/")
}
