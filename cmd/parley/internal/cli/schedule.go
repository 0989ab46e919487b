package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/parley-rt/parley/libs/protocol/admin/v1"
	"github.com/parley-rt/parley/libs/protocol/ids"
)

type scheduleCommand struct {
	Add     scheduleAddCommand     `cmd:"" help:"Make a schedule."`
	Ls      scheduleLsCommand      `cmd:"" help:"List schedules."`
	Show    scheduleShowCommand    `cmd:"" help:"Show how a schedule is, with its latest firings."`
	Next    scheduleNextCommand    `cmd:"" help:"List when a schedule is due next."`
	Pause   schedulePauseCommand   `cmd:"" help:"Keep a schedule from being due."`
	Resume  scheduleResumeCommand  `cmd:"" help:"End a pause."`
	Trigger scheduleTriggerCommand `cmd:"" help:"Have a schedule fire now, besides its timing."`
	Rm      scheduleRmCommand      `cmd:"" help:"End a schedule for good."`
	Failed  scheduleFailedCommand  `cmd:"" help:"List failed firings."`
	Replay  scheduleReplayCommand  `cmd:"" help:"Have a failed firing done again."`
	Drop    scheduleDropCommand    `cmd:"" help:"Take a failed firing off the list."`
}

// scheduleArg is the schedule that a command is about.
type scheduleArg struct {
	apiFlags
	Schedule string `arg:"" help:"Id of the schedule."`
}

// Validate refuses an id that no schedule can have.
func (s scheduleArg) Validate() error {
	if err := ids.CheckSchedule(s.Schedule); err != nil {
		return err
	}
	return s.apiFlags.Validate()
}

type scheduleLsCommand struct {
	apiFlags
	Room  string `help:"Only those of this room." placeholder:"ROOM" env:"-"`
	Limit int    `help:"Print at most so many; 0: all." default:"0" env:"-"`
}

// Run executes the command.
func (c *scheduleLsCommand) Run(ctx context.Context, streams Streams) error {
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		return list(ctx, a, c.Limit, a.readSchedules(&adminv1.ListSchedulesRequest{RoomId: c.Room}),
			[]any{"SCHEDULE", "ROOM", "WHEN", "NEXT", "FIRED", "FAILED", "STATE"}, func(s *adminv1.Schedule) []any {
				next := "never"
				if len(s.GetUpcoming()) > 0 {
					next = clock(s.GetUpcoming()[0], "")
				}
				return []any{s.GetScheduleId(), s.GetSpec().GetRoomId(), visible(timing(s.GetSpec())), next, s.GetFired(), len(s.GetFailed()), stateName(s)}
			}, "there are no schedules")
	})
}

// readSchedules reads a list page by page.
func (a admin) readSchedules(req *adminv1.ListSchedulesRequest) func(context.Context, uint32, string) ([]*adminv1.Schedule, string, error) {
	return func(ctx context.Context, size uint32, token string) ([]*adminv1.Schedule, string, error) {
		req.PageSize, req.PageToken = size, token
		res, err := call(ctx, req, a.schedules.ListSchedules)
		return res.GetSchedules(), res.GetNextPageToken(), err
	}
}

func timing(s *adminv1.ScheduleSpec) string {
	if s.GetAt() != nil {
		return "once"
	}
	if s.GetTimeZone() != "" {
		return s.GetCron() + " " + s.GetTimeZone()
	}
	return s.GetCron()
}

func stateName(s *adminv1.Schedule) string {
	switch s.GetState() {
	case adminv1.ScheduleState_SCHEDULE_STATE_ACTIVE:
		return "active"
	case adminv1.ScheduleState_SCHEDULE_STATE_PAUSED:
		return "paused"
	case adminv1.ScheduleState_SCHEDULE_STATE_ENDED:
		return "ended"
	case adminv1.ScheduleState_SCHEDULE_STATE_DELETED:
		return "deleted"
	default:
		return s.GetState().String()
	}
}

type scheduleShowCommand struct{ scheduleArg }

// Run executes the command.
func (c *scheduleShowCommand) Run(ctx context.Context, streams Streams) error {
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		res, err := call(ctx, &adminv1.GetScheduleRequest{ScheduleId: c.Schedule}, a.schedules.GetSchedule)
		if err != nil {
			return err
		}
		return a.print(res.GetSchedule(), func(w io.Writer) error { return table(w, scheduleRows(res.GetSchedule())) })
	})
}

func scheduleRows(s *adminv1.Schedule) [][]any {
	spec := s.GetSpec()
	rows := [][]any{
		{"schedule", s.GetScheduleId()},
		{"state", stateName(s)},
		{"room", spec.GetRoomId()},
		{"when", visible(timing(spec))},
		{"content", visible(spec.GetContent())},
		{"created", clock(s.GetCreatedAt(), "")},
		{"fired", s.GetFired()},
		{"missed", s.GetMissed()},
	}
	if spec.GetSender() != "" {
		rows = append(rows, []any{"sender", visible(spec.GetSender())})
	}
	if len(s.GetUpcoming()) > 0 {
		rows = append(rows, []any{"next", clock(s.GetUpcoming()[0], "")})
	}
	for _, f := range s.GetHistory() {
		rows = append(rows, []any{"firing " + strconv.FormatUint(f.GetNumber(), 10), firingText(f)})
	}
	if o := s.GetOpen(); o != nil {
		rows = append(rows, []any{"firing " + strconv.FormatUint(o.GetNumber(), 10), firingText(o)})
	}
	return rows
}

func firingText(f *adminv1.Firing) string {
	text := "due " + clock(f.GetDue(), "")
	switch f.GetState() {
	case adminv1.FiringState_FIRING_STATE_OPEN:
		return text + ", being sent since " + clock(f.GetAt(), "")
	case adminv1.FiringState_FIRING_STATE_FAILED:
		return text + ", failed " + clock(f.GetAt(), "")
	default:
		return text + ", done " + clock(f.GetAt(), "") + ", seq " + strconv.FormatUint(f.GetSeq(), 10)
	}
}

type scheduleNextCommand struct {
	scheduleArg
	Count uint32 `help:"How many times." short:"n" default:"10" env:"-"`
}

// Run executes the command.
func (c *scheduleNextCommand) Run(ctx context.Context, streams Streams) error {
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		res, err := call(ctx, &adminv1.GetScheduleRequest{ScheduleId: c.Schedule, Upcoming: c.Count}, a.schedules.GetSchedule)
		if err != nil {
			return err
		}
		s := res.GetSchedule()
		return a.print(s, func(w io.Writer) error {
			if len(s.GetUpcoming()) == 0 {
				return line("it is not due again: it is " + stateName(s))(w)
			}
			zone, err := time.LoadLocation(s.GetSpec().GetTimeZone())
			if err != nil {
				zone = time.UTC
			}
			for _, at := range s.GetUpcoming() {
				if err := line(at.AsTime().In(zone).Format(time.RFC3339))(w); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

type schedulePauseCommand struct{ scheduleArg }

// Run executes the command.
func (c *schedulePauseCommand) Run(ctx context.Context, streams Streams) error {
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		res, err := call(ctx, &adminv1.PauseScheduleRequest{ScheduleId: c.Schedule}, a.schedules.PauseSchedule)
		if err != nil {
			return err
		}
		return a.print(res.GetSchedule(), line("paused "+c.Schedule))
	})
}

type scheduleResumeCommand struct{ scheduleArg }

// Run executes the command.
func (c *scheduleResumeCommand) Run(ctx context.Context, streams Streams) error {
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		res, err := call(ctx, &adminv1.ResumeScheduleRequest{ScheduleId: c.Schedule}, a.schedules.ResumeSchedule)
		if err != nil {
			return err
		}
		return a.print(res.GetSchedule(), line("resumed "+c.Schedule))
	})
}

type scheduleTriggerCommand struct{ scheduleArg }

// Run executes the command.
func (c *scheduleTriggerCommand) Run(ctx context.Context, streams Streams) error {
	req := &adminv1.TriggerScheduleRequest{ScheduleId: c.Schedule, OperationId: uuid.NewString()}
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		res, err := call(ctx, req, a.schedules.TriggerSchedule)
		if err != nil {
			return err
		}
		return a.print(res.GetSchedule(), line(c.Schedule+" fires now"))
	})
}

type scheduleRmCommand struct{ scheduleArg }

// Run executes the command.
func (c *scheduleRmCommand) Run(ctx context.Context, streams Streams) error {
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		res, err := call(ctx, &adminv1.DeleteScheduleRequest{ScheduleId: c.Schedule}, a.schedules.DeleteSchedule)
		if err != nil {
			return err
		}
		return a.print(res, line("deleted "+c.Schedule))
	})
}

type scheduleFailedCommand struct {
	apiFlags
	Room string `help:"Only those of this room." placeholder:"ROOM" env:"-"`
}

// Run executes the command.
func (c *scheduleFailedCommand) Run(ctx context.Context, streams Streams) error {
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		read, token := a.readSchedules(&adminv1.ListSchedulesRequest{RoomId: c.Room, Failed: true}), ""
		rows := [][]any{{"SCHEDULE", "FIRING", "ROOM", "DUE", "FAILED", "REASON"}}
		for {
			page, next, err := read(ctx, listPage, token)
			if err != nil {
				return err
			}
			for _, s := range page {
				for _, f := range s.GetFailed() {
					if a.flags.JSON {
						if err := printProto(a.out, f); err != nil {
							return err
						}
					}
					rows = append(rows, []any{s.GetScheduleId(), f.GetNumber(), s.GetSpec().GetRoomId(), clock(f.GetDue(), ""), clock(f.GetAt(), ""), visible(failure(f))})
				}
			}
			if token = next; token == "" {
				break
			}
		}
		switch {
		case a.flags.JSON:
			return nil
		case len(rows) == 1:
			return line("no firing has failed")(a.out)
		default:
			return table(a.out, rows)
		}
	})
}

func failure(f *adminv1.Firing) string {
	text := f.GetReason()
	if f.GetCode() != "" {
		text = f.GetCode() + ": " + text
	}
	if f.GetUnknownOutcome() {
		text += " (it may be in the room after all)"
	}
	return text
}

// firingArg is the failed firing that a command is about.
type firingArg struct {
	scheduleArg
	Firing uint64 `arg:"" help:"Number of the firing."`
}

type scheduleReplayCommand struct{ firingArg }

// Run executes the command.
func (c *scheduleReplayCommand) Run(ctx context.Context, streams Streams) error {
	req := &adminv1.ReplayFiringRequest{ScheduleId: c.Schedule, Number: c.Firing, OperationId: uuid.NewString()}
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		res, err := call(ctx, req, a.schedules.ReplayFiring)
		if err != nil {
			return err
		}
		return a.print(res.GetSchedule(), line(fmt.Sprintf("firing %d of %s is done again", c.Firing, c.Schedule)))
	})
}

type scheduleDropCommand struct{ firingArg }

// Run executes the command.
func (c *scheduleDropCommand) Run(ctx context.Context, streams Streams) error {
	return c.withAPI(ctx, streams, func(ctx context.Context, a admin) error {
		res, err := call(ctx, &adminv1.DropFiringRequest{ScheduleId: c.Schedule, Number: c.Firing}, a.schedules.DropFiring)
		if err != nil {
			return err
		}
		return a.print(res.GetSchedule(), line(fmt.Sprintf("firing %d of %s is off the list", c.Firing, c.Schedule)))
	})
}

// moment reads a time of the command line.
func moment(flag, text string) (*timestamppb.Timestamp, error) {
	if text == "" {
		return nil, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, fmt.Errorf("--%s: %q is no time such as 2026-12-24T18:00:00+01:00", flag, text)
	}
	return timestamppb.New(at), nil
}
