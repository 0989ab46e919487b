package rooms

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// journalEvery is how often readiness asks the journal: each time is a commit.
const journalEvery = time.Second

var (
	errDirectoryStale = errors.New("directory is not complete or too old")
	errHostGone       = errors.New("room host is not running")
	errBlind          = errors.New("journal cannot be asked who owns the rooms")
)

// addClusterCheck says what the start of the node waits for.
func (s *Service) addClusterCheck() {
	if s.deps.Health != nil {
		s.checks = append(s.checks, s.deps.Health.AddCheck("rooms-cluster", s.waiting.check))
	}
}

// addChecks registers what readiness means for this service. Health calls each at most every 250 ms.
func (s *Service) addChecks() {
	if s.deps.Health == nil {
		return
	}
	host, blind := s.host, s.blind
	for _, c := range []struct {
		name  string
		check func(context.Context) error
	}{
		{"rooms-journal", cached(journalEvery, time.Now, s.deps.Backend.Ping)},
		{"rooms-directory", func(context.Context) error {
			if problem := s.deps.Directory.Problem(); problem != nil {
				return fmt.Errorf("%w: %w", errDirectoryStale, problem)
			}
			return nil
		}},
		{"rooms-host", func(context.Context) error {
			if !host.IsRunning() {
				return errHostGone
			}
			return nil
		}},
		{"rooms-ownership", func(context.Context) error {
			isBlind, lost := blind.state()
			if lost == nil && isBlind {
				return errBlind
			}
			return lost
		}},
	} {
		s.checks = append(s.checks, s.deps.Health.AddCheck(c.name, c.check))
	}
}

// cached returns a check that runs the given one at most once per period, one call at a time; between, it repeats the last
// answer. An answer that the end of the asker's own context has caused is not kept.
func cached(period time.Duration, now func() time.Time, check func(context.Context) error) func(context.Context) error {
	var (
		mu    sync.Mutex
		asked time.Time
		last  error
	)
	return func(ctx context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		if !asked.IsZero() && now().Sub(asked) < period {
			return last
		}
		err := check(ctx)
		if ctx.Err() == nil {
			asked, last = now(), err
		}
		return err
	}
}
