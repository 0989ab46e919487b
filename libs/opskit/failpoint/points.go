package failpoint

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// action is what happens; the zero value is nothing.
type action struct {
	crash bool
	stall time.Duration
}

func (a action) String() string {
	switch {
	case a.crash:
		return "crash"
	case a.stall > 0:
		return fmt.Sprintf("stall(%v)", a.stall)
	default:
		return "nothing"
	}
}

// setting is an action with the hit that it is for: 0 for every one.
type setting struct {
	action action
	nth    int
}

// points are all settings with what was hit so far. Safe for concurrent use.
type points struct {
	settings map[string]setting
	mu       sync.Mutex
	hits     map[string]int
}

// hit counts and returns what is to happen; first the first time that a point is there, whether or not something happens.
func (p *points) hit(name string) (a action, first bool) {
	s, set := p.settings[name]
	p.mu.Lock()
	p.hits[name]++
	n := p.hits[name]
	p.mu.Unlock()
	if set && (s.nth == 0 || s.nth == n) {
		a = s.action
	}
	return a, n == 1 || a.crash
}

// parse reads settings. It reports everything that is wrong.
func parse(text string) (*points, error) {
	p := &points{settings: make(map[string]setting), hits: make(map[string]int)}
	var problems []error
	for one := range strings.SplitSeq(text, ";") {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		name, what, ok := strings.Cut(one, "=")
		s, err := parseSetting(what)
		switch {
		case !ok || name == "":
			problems = append(problems, fmt.Errorf("%q: want point=action", one))
		case err != nil:
			problems = append(problems, fmt.Errorf("%q: %w", one, err))
		default:
			p.settings[name] = s
		}
	}
	return p, errors.Join(problems...)
}

func parseSetting(text string) (setting, error) {
	s := setting{nth: 1}
	what, which, ok := strings.Cut(text, "@")
	if ok {
		n, err := strconv.Atoi(which)
		switch {
		case which == "every":
			n = 0
		case err != nil || n < 1:
			return s, fmt.Errorf("%q is no number of hits", which)
		}
		s.nth = n
	}
	duration, stalls := strings.CutPrefix(what, "stall(")
	switch {
	case what == "crash":
		s.action.crash = true
	case stalls:
		d, err := time.ParseDuration(strings.TrimSuffix(duration, ")"))
		if err != nil || d <= 0 || !strings.HasSuffix(duration, ")") {
			return s, fmt.Errorf("%q is no time to stall", what)
		}
		s.action.stall = d
	default:
		return s, fmt.Errorf("%q is neither crash nor stall(duration)", what)
	}
	return s, nil
}
