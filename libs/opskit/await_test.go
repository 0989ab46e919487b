package opskit

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var errAway = errors.New("nobody there")

// database is a Dependency that answers as it is told, and the log of those who wait for it.
type database struct {
	mu     sync.Mutex
	answer error
	tries  int
	closed bool
	log    strings.Builder
}

func (d *database) dependency(h *Health) Dependency[string] {
	return Dependency[string]{
		Name: "journal", Health: h, Logger: NewLogger(LogConfig{Writer: d}),
		Open: func(ctx context.Context) (string, error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.tries++
			if err := ctx.Err(); err != nil {
				return "", err
			}
			return "open", d.answer
		},
		MayCome: func(err error) bool { return errors.Is(err, errAway) },
		Close:   func(context.Context, string) error { d.closed = true; return nil },
	}
}

func (d *database) Write(line []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.Write(line)
}

func (d *database) logged() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.String()
}

func (d *database) tried() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tries
}

func (d *database) answers(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer = err
}

func TestAwaitWaitsForAsLongAsItTakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		health, db := NewHealth(), &database{answer: errAway}
		awaited := Await(db.dependency(health))
		result := make(chan error, 1)
		go func() { result <- awaited.Start(t.Context()) }()

		<-time.After(24 * time.Hour) // of the bubble
		synctest.Wait()
		_, details := health.Ready(t.Context())
		require.Equal(t, "journal", details[len(details)-1].Name)
		require.ErrorContains(t, details[len(details)-1].Err, "waiting for it: nobody there")
		require.Equal(t, 1, strings.Count(db.logged(), "\n"), "a reason is logged once: %s", db.logged())
		require.Greater(t, db.tried(), 40_000, "within two seconds of its coming it is found")

		db.answers(errors.Join(errAway, errors.New("now another reason")))
		<-time.After(time.Minute)
		synctest.Wait()
		require.Equal(t, 2, strings.Count(db.logged(), "\n"), "and again when it changes: %s", db.logged())

		db.answers(nil)
		require.NoError(t, <-result)
		require.Equal(t, "open", awaited.Value())
		require.Contains(t, db.logged(), "wait is over")
		_, details = health.Ready(t.Context())
		require.Len(t, details, 2, "what was waited for has checks of its own")
		require.NoError(t, awaited.Stop(t.Context()))
		require.True(t, db.closed)
	})
}

func TestAwaitDoesNotWaitForWhatOnlyAnOperatorCanMend(t *testing.T) {
	t.Parallel()
	mend := errors.New("schema is not migrated")
	db := &database{answer: mend}
	require.ErrorIs(t, Await(db.dependency(nil)).Start(t.Context()), mend)
	require.Empty(t, db.logged(), "it is returned, not logged")
}

func TestAwaitEndsWithTheProcess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		result := make(chan error, 1)
		go func() { result <- Await((&database{answer: errAway}).dependency(nil)).Start(ctx) }()
		synctest.Wait()
		asked := errors.New("asked to stop")
		cancel(asked)
		require.ErrorIs(t, <-result, asked)
	})
}

func TestLaterIsMadeWhenItsTurnComes(t *testing.T) {
	t.Parallel()
	var ev events
	value := ""
	first := NewComponent("first", func(context.Context) error { value = "there"; return nil }, nil)
	broken := errors.New("broke")
	second := Later("second", func() (Component, error) {
		require.Equal(t, "there", value)
		return &breaking{Component: ev.component("made", nil, nil), failure: make(chan error, 1), err: broken}, nil
	})
	require.ErrorIs(t, Run(t.Context(), quiet(), time.Second, first, second), broken, "it is watched as what was made")
	require.Equal(t, []string{"start made", "stop made"}, ev.list)

	require.ErrorIs(t, Run(t.Context(), quiet(), time.Second, Later("third", func() (Component, error) { return nil, broken })), broken)
}

// breaking fails as soon as it has started.
type breaking struct {
	Component
	failure chan error
	err     error
}

func (b *breaking) Start(ctx context.Context) error {
	b.failure <- b.err
	return b.Component.Start(ctx)
}

func (b *breaking) Failure() <-chan error { return b.failure }
