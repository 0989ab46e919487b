package rooms

import (
	"context"
	"errors"
	"fmt"
)

var (
	errDirectoryStale = errors.New("directory is not complete or too old")
	errHostGone       = errors.New("room host is not running")
	errBlind          = errors.New("journal cannot be asked who owns the rooms")
)

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
		{"rooms-journal", s.deps.Backend.Ping},
		{"rooms-directory", func(context.Context) error {
			if !s.deps.Directory.Ready() {
				return fmt.Errorf("%w: age %s", errDirectoryStale, s.deps.Directory.Age())
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
