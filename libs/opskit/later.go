package opskit

import "context"

// Later is a Component that is made when it is started: of values that earlier components provide once they run. It is
// Monitored if what was made is.
func Later(name string, build func() (Component, error)) Monitored {
	return &later{name: name, build: build}
}

type later struct {
	name  string
	build func() (Component, error)
	made  Component
}

func (l *later) Name() string { return l.name }

func (l *later) Start(ctx context.Context) error {
	made, err := l.build()
	if err != nil {
		return err
	}
	if err := made.Start(ctx); err != nil {
		return err
	}
	l.made = made
	return nil
}

func (l *later) Stop(ctx context.Context) error { return l.made.Stop(ctx) }

func (l *later) Failure() <-chan error {
	if m, ok := l.made.(Monitored); ok {
		return m.Failure()
	}
	return nil
}
