package pgtest

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"
)

// process is one that runs on this machine. Each of Postgres is a session of its own: no process group has them all.
type process struct {
	pid, parent int
	// state is as in ps: T is stopped, Z is a zombie.
	state byte
	// started tells two apart that had the same id one after the other; empty where the platform does not say.
	started string
}

// gone says that it does nothing any more; whether somebody reaped it is not our business.
func (p process) gone() bool { return p.state == 0 || p.state == 'Z' || p.state == 'X' }

func signalAll(list []process, s syscall.Signal) {
	for _, p := range list {
		_ = syscall.Kill(p.pid, s) // ESRCH: it ended by itself
	}
}

func awaitGone(ctx context.Context, list []process) error {
	return await(ctx, list, "end", process.gone)
}

func awaitStopped(ctx context.Context, list []process) error {
	return await(ctx, list, "stop", func(p process) bool { return p.state == 'T' || p.gone() })
}

// await waits until all are as they should be; one that does not exist has no state.
func await(ctx context.Context, list []process, what string, is func(process) bool) error {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		var waiting []process
		for _, p := range list {
			now, err := inspect(p.pid)
			if err != nil {
				return err
			}
			if p.started != "" && now.started != p.started {
				now = process{}
			}
			if !is(now) {
				waiting = append(waiting, p)
			}
		}
		if len(waiting) == 0 {
			return nil
		}
		list = slices.Clip(waiting)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for process %d and %d others to %s: %w", list[0].pid, len(list)-1, what, ctx.Err())
		}
	}
}
