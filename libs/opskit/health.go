package opskit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	// checkTimeout bounds one health check.
	checkTimeout = time.Second
	// checkCacheFor is how long a check's result is reused, so that probes and
	// curious people cannot load the dependencies that are being checked.
	checkCacheFor = 250 * time.Millisecond
)

// HealthState is where a process is in its life.
type HealthState string

// A process goes from starting to ready to draining, and does not come back
// from draining unless an operator reverses the drain.
const (
	StateStarting HealthState = "starting"
	StateReady    HealthState = "ready"
	StateDraining HealthState = "draining"
)

// CheckResult is one line of a readiness report.
type CheckResult struct {
	Name string
	Err  error // nil = passed
	// Took is how long the check ran; it is zero for the state's own lines.
	Took time.Duration
}

// Health answers whether this process lives and whether it should get traffic.
// It is safe for concurrent use.
type Health struct {
	mu       sync.Mutex
	started  bool
	draining bool
	checks   []*healthCheck
}

// NewHealth returns a Health in StateStarting without checks.
func NewHealth() *Health { return &Health{} }

// AddCheck adds a named readiness check, and returns a function that removes it.
// A second check of the same name is kept beside the first as "name#2". check
// gets a context of one second and is not called again while an earlier call of
// it still runs; its result is reused for 250 ms.
func (h *Health) AddCheck(name string, check func(context.Context) error) (remove func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	unique := name
	for n := 2; h.has(unique); n++ {
		unique = fmt.Sprintf("%s#%d", name, n)
	}
	c := &healthCheck{name: unique, check: check}
	h.checks = append(h.checks, c)
	return func() { h.remove(c) }
}

func (h *Health) has(name string) bool {
	for _, c := range h.checks {
		if c.name == name {
			return true
		}
	}
	return false
}

func (h *Health) remove(gone *healthCheck) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, c := range h.checks {
		if c == gone {
			// A fresh slice: Ready may be walking the old one.
			h.checks = append(append([]*healthCheck(nil), h.checks[:i]...), h.checks[i+1:]...)
			return
		}
	}
}

// SetStarted says that everything has started. Before it the process is not ready.
func (h *Health) SetStarted() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.started = true
}

// SetDraining takes the process out of (true) or back into (false) traffic. It
// does not touch liveness.
func (h *Health) SetDraining(draining bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = draining
}

// State is the process's state, checks not considered.
func (h *Health) State() HealthState {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.draining:
		return StateDraining
	case !h.started:
		return StateStarting
	default:
		return StateReady
	}
}

var (
	errStarting = errors.New("still starting")
	errDraining = errors.New("draining")
)

// Ready reports whether the process should get traffic: started, not draining,
// and every check passing. The details come in a fixed order: the two state
// lines, then the checks as they were added. It takes at most the check timeout
// (one second), less when ctx ends before.
func (h *Health) Ready(ctx context.Context) (ok bool, details []CheckResult) {
	h.mu.Lock()
	startedLine, drainingLine := CheckResult{Name: "started"}, CheckResult{Name: "not-draining"}
	if !h.started {
		startedLine.Err = errStarting
	}
	if h.draining {
		drainingLine.Err = errDraining
	}
	checks := h.checks
	h.mu.Unlock()

	details = append(make([]CheckResult, 0, 2+len(checks)), startedLine, drainingLine)
	for _, run := range startChecks(checks) {
		details = append(details, run.result(ctx))
	}
	ok = true
	for _, d := range details {
		ok = ok && d.Err == nil
	}
	return ok, details
}

// Component returns a Component that calls SetStarted when it is started and
// SetDraining(true) when it is stopped. Given to Run as the last one, it makes
// the process ready when all others run and unready before any of them stops.
func (h *Health) Component() Component {
	return NewComponent("readiness",
		func(context.Context) error { h.SetStarted(); return nil },
		func(context.Context) error { h.SetDraining(true); return nil })
}

// formatChecks renders a report the way the Kubernetes API server does.
func formatChecks(probe string, ok bool, details []CheckResult) string {
	var b strings.Builder
	for _, d := range details {
		if d.Err == nil {
			fmt.Fprintf(&b, "[+]%s ok\n", d.Name)
		} else {
			fmt.Fprintf(&b, "[-]%s failed: %s\n", d.Name, strings.ReplaceAll(d.Err.Error(), "\n", "; "))
		}
	}
	if ok {
		fmt.Fprintf(&b, "%s check passed\n", probe)
	} else {
		fmt.Fprintf(&b, "%s check failed\n", probe)
	}
	return b.String()
}
