package open_test

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/open"
	"github.com/parley-rt/parley/libs/persistence/persistencetest/pgtest"
)

func TestNoPasswordInErrors(t *testing.T) {
	t.Parallel()
	refusing, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := refusing.Addr().String()
	require.NoError(t, refusing.Close())
	for _, c := range []struct {
		url  string
		want error
	}{
		{"postgres://a:secret@" + nobody + "/db", persistence.ErrUnavailable},
		{"postgres://a:secret@" + nobody + "," + nobody + "/db?sslpassword=secret", persistence.ErrUnavailable},
		{"postgres://" + nobody + "/db?user=a&password=secret", persistence.ErrUnavailable},
		{"postgresql://a:sec%72et@" + nobody, persistence.ErrUnavailable},
		{"postgres://a:secret@h:port/db", persistence.ErrInvalid},
		{"postgres://a:secret@[::1]:x/db", persistence.ErrInvalid},
		{"postgres://a:secret@h/db?sslmode=no", persistence.ErrInvalid},
		{"postgres://a:secret@h/db?connect_timeout=no", persistence.ErrInvalid},
		{"postgres://a:secret@h/db?search_path=a,b", persistence.ErrInvalid},
		{"postgres://h/db?pass%77ord=secret&sslmode=no", persistence.ErrInvalid},
		// What is wrong with these is the password itself.
		{"postgres://a:my@secret@h/db", persistence.ErrInvalid},
		{"postgres://a:my@secret@h:x/db", persistence.ErrInvalid},
		{"postgres://a:/secret@h/db", persistence.ErrInvalid},
		{"postgres://a:my/secret@h/db", persistence.ErrInvalid},
		{"postgres://a:?secret@h/db", persistence.ErrInvalid},
		{"postgres://a:sec ret%zz@h/db", persistence.ErrInvalid},
		{"postgres://a:secret%zz@h/db", persistence.ErrInvalid},
		{"postgres://a:secret\x00@h/db", persistence.ErrInvalid},
		{"postgres://a:secret", persistence.ErrInvalid},
		{"postgres://a:secret,h/db", persistence.ErrInvalid},
	} {
		for _, err := range refusals(t, c.url) {
			require.ErrorIs(t, err, c.want, c.url)
			require.NotContains(t, err.Error(), "secret", c.url)
			require.NotContains(t, err.Error(), "sec ret", c.url)
			require.NotContains(t, err.Error(), "sec%72et", c.url)
		}
	}
}

// A server that asks for the password and gets a wrong one says so without it.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	asking := pgtest.Start(t, pgtest.Options{})
	require.NoError(t, asking.Exec(t.Context(), `CREATE ROLE shy LOGIN PASSWORD 'other'; GRANT CREATE ON DATABASE parley TO shy`))
	var rules string
	require.NoError(t, asking.QueryRow(t.Context(), `SHOW hba_file`).Scan(&rules))
	require.NoError(t, os.WriteFile(rules, []byte("host all shy all scram-sha-256\nhost all all all trust\n"), 0o600))
	require.NoError(t, asking.Stop(t.Context(), "fast"))
	require.NoError(t, asking.StartAgain(t.Context()))

	url := strings.Replace(asking.URL(), "parley@", "shy:secret@", 1)
	for _, err := range refusals(t, url) {
		require.ErrorIs(t, err, persistence.ErrUnavailable)
		require.ErrorContains(t, err, `password authentication failed for user "shy"`)
		require.NotContains(t, err.Error(), "secret")
	}
	b, err := open.Open(t.Context(), strings.Replace(url, "secret", "other", 1), open.Options{})
	require.NoError(t, err, "it was the password")
	require.NoError(t, b.Close(context.Background()))
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"":                               "xxxxx",
		"host=h password=secret":         "xxxxx",
		"sqlite:///a@b:c?password=x":     "sqlite:///a@b:c?password=x",
		"memory://":                      "memory://",
		"postgres://h/db":                "postgres://h/db",
		"postgres://a@h/db":              "postgres://a@h/db",
		"postgres://a:secret@h:1,i:2/db": "postgres://a:xxxxx@h:1,i:2/db",
		"postgres://:secret@h":           "postgres://:xxxxx@h",
		"postgresql://a:secret@h/db?sslmode=disable&pass%77ord=secret&search_path=s": "postgresql://a:xxxxx@h/db?sslmode=disable&pass%77ord=xxxxx&search_path=s",
		"postgres://h/db?sslpassword=secret":                                         "postgres://h/db?sslpassword=xxxxx",
		"postgres://h/db?password%zz=secret":                                         "postgres://h/db?password%zz=xxxxx",
		"postgres://a:my@secret@h/db":                                                "postgres://a:xxxxx@h/db",
		"postgres://a:my/secret@h/db":                                                "postgres://a:xxxxx@h/db",
		"postgres://a:my?secret@h/db":                                                "postgres://a:xxxxx@h/db",
		"postgres://a:secret@h/db?application_name=me@here":                          "postgres://a:xxxxx@here",
		"mysql://a:secret@h/db":                                                      "mysql://a:xxxxx@h/db",
	} {
		require.Equal(t, want, open.Redact(url), url)
	}
}
