package opskit

import "context"

// Component is one part of a process with a life of its own. Run starts
// components in order and stops them in reverse.
type Component interface {
	// Name is a short, constant word for logs and errors, such as "journal".
	Name() string

	// Start returns when the component serves, or with the reason it cannot.
	// After an error the component is considered stopped: it must have released
	// what it took. ctx is cancelled when the process is asked to stop while
	// Start runs; after a successful Start it stays alive until Stop returns, so
	// a component may keep it for its own goroutines.
	Start(ctx context.Context) error

	// Stop ends everything Start began and returns when it has ended, or when
	// ctx does. It is called once, and only after a successful Start.
	Stop(ctx context.Context) error
}

// Monitored is a Component that can break while it runs. Run stops the whole
// process when Failure delivers an error and returns that error.
type Monitored interface {
	Component

	// Failure returns the channel on which at most one error is sent. The
	// channel is valid after Start, and nothing is sent on a regular stop.
	Failure() <-chan error
}

// NewComponent makes a Component of two functions, each of which may be nil.
func NewComponent(name string, start, stop func(context.Context) error) Component {
	return &funcComponent{name: name, start: start, stop: stop}
}

type funcComponent struct {
	name        string
	start, stop func(context.Context) error
}

func (c *funcComponent) Name() string { return c.name }

func (c *funcComponent) Start(ctx context.Context) error {
	if c.start == nil {
		return nil
	}
	return c.start(ctx)
}

func (c *funcComponent) Stop(ctx context.Context) error {
	if c.stop == nil {
		return nil
	}
	return c.stop(ctx)
}
