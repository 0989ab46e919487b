package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/parley-rt/parley/libs/persistence/persistencetest/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// command is one that runs in this process.
type command struct {
	in    *io.PipeWriter
	out   *bufio.Reader
	ended chan error
	url   string
}

func start(t *testing.T) *command {
	t.Helper()
	in, hold := io.Pipe()
	printed, out := io.Pipe()
	c := &command{in: hold, out: bufio.NewReader(printed), ended: make(chan error, 1)}
	go func() { c.ended <- run(pgtest.Options{}, in, out) }()
	c.url = c.line(t)
	return c
}

func (c *command) line(t *testing.T) string {
	t.Helper()
	line, err := c.out.ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSuffix(line, "\n")
}

func (c *command) ask(t *testing.T, what string) string {
	t.Helper()
	_, err := fmt.Fprintln(c.in, what)
	require.NoError(t, err)
	return c.line(t)
}

// end closes the input and waits until the cluster is gone.
func (c *command) end(t *testing.T) {
	t.Helper()
	require.NoError(t, c.in.Close())
	require.NoError(t, <-c.ended)
	_, err := pgx.Connect(context.Background(), c.url)
	require.Error(t, err)
}

func ping(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return errors.Join(conn.Ping(ctx), conn.Close(ctx))
}

func TestClusterLivesAsLongAsTheInput(t *testing.T) {
	t.Parallel()
	c := start(t)
	require.NoError(t, ping(t.Context(), c.url))
	c.end(t)
}

func TestCommandsAreAnsweredWhenTheyAreDone(t *testing.T) {
	t.Parallel()
	c := start(t)
	require.Equal(t, "ok", c.ask(t, "kill"))
	require.Error(t, ping(t.Context(), c.url))
	require.Contains(t, c.ask(t, "kill"), "error: ")
	require.Equal(t, "ok", c.ask(t, "start"))
	require.NoError(t, ping(t.Context(), c.url), "the same port")
	require.Contains(t, c.ask(t, "start"), "error: ")

	require.Equal(t, "ok", c.ask(t, "pause"))
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	require.Error(t, ping(short, c.url))
	require.Equal(t, "ok", c.ask(t, "resume"))
	require.NoError(t, ping(t.Context(), c.url))

	require.Contains(t, c.ask(t, "stop"), `error: unknown command "stop"`)
	require.Equal(t, "ok", c.ask(t, "pause"), "a paused cluster ends, too")
	c.end(t)
}

func TestAnswersAreOneLine(t *testing.T) {
	t.Parallel()
	require.Equal(t, "error: a | b", answer(errors.New("a\nb")))
}
