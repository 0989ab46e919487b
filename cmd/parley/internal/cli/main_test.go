package cli

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/open"
	"github.com/parley-rt/parley/libs/persistence/persistencetest/pgtest"
)

// cluster is everybody's; each test has a schema of its own in it.
var cluster *pgtest.Cluster

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(pgtest.Suite{M: m, Cluster: &cluster}, actorkittest.LeakOptions()...)
}

// onEachJournal runs a test with the URL of a journal that is not there yet, one of each kind that an operator has. The one
// on Postgres has a password, which nothing may show.
func onEachJournal(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			url := "sqlite://" + filepath.Join(t.TempDir(), "data", "journal.db")
			if kind == "postgres" {
				url = strings.Replace(cluster.SchemaURL(t), "parley@", "parley:canary@", 1)
			}
			test(t, url)
		})
	}
}

// run runs a command and returns what it printed and its exit code.
func run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Run(args, Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
	require.NotContains(t, out.String()+errs.String(), "canary", "a password")
	return out.String(), errs.String(), code
}

// must is run for a command that succeeds.
func must(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, code := run(t, args...)
	require.Zero(t, code, stderr)
	return stdout
}

// fails is run for a command that does not, with that in what it says.
func fails(t *testing.T, says string, args ...string) (stderr string) {
	t.Helper()
	stdout, stderr, code := run(t, args...)
	require.Equal(t, 1, code, stdout)
	require.Contains(t, stderr, says)
	require.NotContains(t, stderr, "goroutine")
	return stderr
}

// using runs fn with the journal as a service has it.
func using(t *testing.T, url string, fn func(b persistence.Backend)) {
	t.Helper()
	b, err := open.Open(t.Context(), url, open.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close(context.WithoutCancel(t.Context()))) }()
	fn(b)
}

// publish appends n events to a stream, which it claims.
func publish(t *testing.T, b persistence.Backend, key persistence.StreamKey, n int) persistence.Claim {
	t.Helper()
	c, err := b.Claim(t.Context(), key, "node", persistence.ClaimOptions{})
	require.NoError(t, err)
	events := make([]persistence.Event, n)
	for i := range events {
		events[i].MessageID[0] = byte(i)
		events[i].Payload = []byte("hello")
	}
	c.LastSeq, err = b.Append(t.Context(), c, c.LastSeq, events)
	require.NoError(t, err)
	return c
}
