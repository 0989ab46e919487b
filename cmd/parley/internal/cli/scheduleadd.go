package cli

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/parley-rt/parley/libs/protocol/admin/v1"
	"github.com/parley-rt/parley/libs/protocol/ids"
)

type scheduleAddCommand struct {
	apiFlags
	Room    string `arg:"" help:"Room to publish in."`
	Content string `arg:"" help:"The message."`

	At    string         `help:"When, once: a time with its offset, 2026-12-24T18:00:00+01:00." placeholder:"TIME" env:"-" xor:"when"`
	After *time.Duration `help:"When, once: so long from now." placeholder:"DURATION" env:"-" xor:"when"`
	Cron  string         `help:"When, again and again: minute hour day month weekday, or @hourly, @daily, @every 90m and the like." placeholder:"EXPRESSION" env:"-" xor:"when"`

	Zone      string        `help:"Time zone of --cron, such as Europe/Berlin; default: UTC." placeholder:"ZONE" env:"-"`
	Starts    string        `help:"Not before this time." placeholder:"TIME" env:"-"`
	Ends      string        `help:"Not after this time." placeholder:"TIME" env:"-"`
	Max       uint64        `help:"Fire at most so often; 0: no such limit." default:"0" env:"-"`
	Jitter    time.Duration `help:"Put each firing off by up to this much." default:"0s" env:"-"`
	Misfire   string        `help:"What becomes of firings that nobody could start in time: skip them, make up for the latest once, or for all." enum:"skip,once,all" default:"once" env:"-"`
	MisfireBy uint32        `name:"misfire-cap" help:"Of --misfire all: make up for so many at most; 0: 100." default:"0" env:"-"`
	RetryFor  time.Duration `help:"Try a firing for so long before it is listed as failed; 0: 10 minutes." default:"0s" env:"-"`
	Sender    string        `help:"Publish in this member's name; default: the schedule's own." placeholder:"MEMBER" env:"-"`
	Key       string        `help:"Idempotency key: a second schedule with it is not made. Default: a random one." placeholder:"KEY" env:"-"`
}

// Validate refuses what no attempt could work with.
func (c *scheduleAddCommand) Validate() error {
	if err := ids.CheckRoom(c.Room); err != nil {
		return err
	}
	if c.At == "" && c.After == nil && c.Cron == "" {
		return errors.New("say when: --at, --after or --cron")
	}
	for flag, text := range map[string]string{"at": c.At, "starts": c.Starts, "ends": c.Ends} {
		if _, err := moment(flag, text); err != nil {
			return err
		}
	}
	return c.apiFlags.Validate()
}

func (c *scheduleAddCommand) spec() (*adminv1.ScheduleSpec, error) {
	spec := &adminv1.ScheduleSpec{
		RoomId: c.Room, Content: c.Content, Sender: c.Sender, TimeZone: c.Zone, MaxFirings: c.Max, MisfireCap: c.MisfireBy,
		Misfire: map[string]adminv1.Misfire{
			"skip": adminv1.Misfire_MISFIRE_SKIP, "once": adminv1.Misfire_MISFIRE_ONCE, "all": adminv1.Misfire_MISFIRE_ALL,
		}[c.Misfire],
	}
	var times [3]*timestamppb.Timestamp
	for i, t := range [3][2]string{{"at", c.At}, {"starts", c.Starts}, {"ends", c.Ends}} {
		var err error
		if times[i], err = moment(t[0], t[1]); err != nil {
			return nil, err
		}
	}
	spec.StartsAt, spec.EndsAt = times[1], times[2]
	switch {
	case c.Cron != "":
		spec.Timing = &adminv1.ScheduleSpec_Cron{Cron: c.Cron}
	case c.After != nil:
		spec.Timing = &adminv1.ScheduleSpec_After{After: durationpb.New(*c.After)}
	default:
		spec.Timing = &adminv1.ScheduleSpec_At{At: times[0]}
	}
	if c.Jitter != 0 {
		spec.Jitter = durationpb.New(c.Jitter)
	}
	if c.RetryFor != 0 {
		spec.RetryFor = durationpb.New(c.RetryFor)
	}
	return spec, nil
}

// Run executes the command.
func (c *scheduleAddCommand) Run(ctx context.Context, streams Streams) error {
	spec, err := c.spec()
	if err != nil {
		return err
	}
	req := &adminv1.CreateScheduleRequest{Spec: spec, IdempotencyKey: c.Key}
	if req.IdempotencyKey == "" {
		req.IdempotencyKey = uuid.NewString() // for attempts after the first
	}
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		res, err := call(ctx, req, a.schedules.CreateSchedule)
		if err != nil {
			return err
		}
		s := res.GetSchedule()
		return a.print(s, func(w io.Writer) error {
			next := "it has fired"
			if len(s.GetUpcoming()) > 0 {
				next = "due " + clock(s.GetUpcoming()[0], "")
			}
			return table(w, [][]any{{s.GetScheduleId(), next}})
		})
	})
}
