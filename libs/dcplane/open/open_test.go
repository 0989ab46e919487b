package open_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/dcplanetest"
	"github.com/parley-rt/parley/libs/dcplane/nats/embedded"
	"github.com/parley-rt/parley/libs/dcplane/open"
)

func TestMain(m *testing.M) { dcplanetest.Main(m) }

func sample() dcplane.Node {
	return dcplane.Node{
		Service: "rooms", DC: "dc-a", Name: "rooms-1", Incarnation: "7f", Host: "10.0.0.1", RemotingPort: 4001, State: dcplane.StateReady,
	}
}

// patience is how long what must happen may take on a busy machine.
const patience = 30 * time.Second

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func openURL(t *testing.T, url string, log *lockedBuffer) dcplane.Directory {
	t.Helper()
	d, err := open.Open(url, open.Options{Logger: slog.New(slog.NewTextHandler(log, nil))})
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close(context.Background()) }) // fails where nothing listens any more
	return d
}

// freeAddress is one that nothing listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// TestNATSComesLater: a process may start before its control plane.
func TestNATSComesLater(t *testing.T) {
	t.Parallel()
	addr, log := freeAddress(t), &lockedBuffer{}
	d := openURL(t, "nats://user:secret@"+addr+",127.0.0.1:1", log)
	require.False(t, d.Ready())
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := d.Register(short, sample())
	require.ErrorIs(t, err, dcplane.ErrUnavailable)
	err = dcplane.AwaitReady(short, d)
	require.ErrorIs(t, err, dcplane.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, d.Problem(), "connection refused")
	require.NotContains(t, d.Problem().Error()+err.Error(), "secret")

	registered := make(chan error, 1)
	go func() {
		_, err := d.Register(within(t), sample())
		registered <- err
	}()
	server, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir(), Listen: addr})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Shutdown(context.Background())) })
	require.NoError(t, <-registered)
	require.NoError(t, dcplane.AwaitReady(within(t), d))
	require.NoError(t, d.Problem())
	require.Contains(t, log.String(), "control plane not answering")
	require.Contains(t, log.String(), "control plane answering again")
	require.NotContains(t, log.String(), "secret")
	require.NoError(t, d.Close(within(t)))
}

func TestNATSForms(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Shutdown(context.Background())) })
	addr := strings.TrimPrefix(server.URL(), "nats://")
	for _, url := range []string{
		"nats://" + addr, "nats://" + addr + "/", "nats://" + addr + ",nats://127.0.0.1:1", "nats://127.0.0.1:1, " + addr,
		"nats://" + addr + "?bucket=other&replicas=1",
	} {
		d := openURL(t, url, &lockedBuffer{})
		require.NoError(t, dcplane.AwaitReady(within(t), d), url)
		require.NoError(t, d.Close(within(t)))
	}
	conn, err := natsio.Connect(server.URL())
	require.NoError(t, err)
	defer conn.Close()
	js, err := conn.JetStream()
	require.NoError(t, err)
	_, err = js.StreamInfo("KV_other")
	require.NoError(t, err, "the parameter named the bucket")
}

func TestRefused(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	text := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(text, []byte("secret"), 0o600))
	user, err := nkeys.CreateUser()
	require.NoError(t, err)
	seed, err := user.Seed()
	require.NoError(t, err)
	nkey := filepath.Join(t.TempDir(), "nkey")
	require.NoError(t, os.WriteFile(nkey, seed, 0o600))

	for url, want := range map[string][]string{
		"":                                      {"it is empty, want nats://host:4222"},
		"localhost:4222":                        {"it has no scheme"},
		"secret@h://":                           {"it has no scheme"},
		"://h":                                  {"it has no scheme"},
		"redis://h":                             {`scheme "redis" is not known`},
		"NATS://h":                              {`scheme "NATS" is not known`},
		"memory://":                             {"memory is not a control plane that processes could share"},
		"nats://":                               {"a host is missing"},
		"nats://h,":                             {"a host is missing"},
		"nats://u:secret@":                      {"a host is missing"},
		"nats://h:0":                            {`port is "0", not in 1–65535`},
		"nats://h:70000":                        {`port is "70000", not in`},
		"nats://u:secret":                       {"a host's port is not a number, want [user:password@]host[:port]"},
		"nats://::1":                            {"an IPv6 address needs brackets"},
		"nats://[::1":                           {"not an IPv6 address"},
		"nats://[secret]:1":                     {"not an IPv6 address"},
		"nats://a b":                            {"characters other than letters"},
		"nats://u:sec@ret@h":                    {"percent-encode special characters of user and password"},
		"nats://u:secret:secret@h":              {"percent-encode"},
		"nats://u:/secret@h":                    {"percent-encode"},
		"nats://u:?secret@h":                    {"percent-encode"},
		"nats://u:#secret@h":                    {"percent-encode"},
		"nats://u:secret%zz@h":                  {"% itself is written %25"},
		"nats://u:@h":                           {"user or password is empty"},
		"nats://:secret@h":                      {"user or password is empty"},
		"nats://@h":                             {"user or password is empty"},
		"nats://u:a@h,v:secret@h":               {"different users or passwords"},
		"nats://h,tls://h":                      {"all servers need the same scheme, nats://"},
		"nats://h/bucket":                       {"nats:// takes no path: a bucket is named with ?bucket=name"},
		"nats://h/x,h":                          {"a path can only follow the last host"},
		"nats://h?":                             nil,
		"nats://h?bucket":                       {"parameter bucket is empty"},
		"nats://h?Bucket=x":                     {"a parameter's name is not made of lower-case letters"},
		"nats://h?bucket=%zz":                   {"parameter bucket has a broken"},
		"nats://h?bucket=a&bucket=":             {"parameter bucket is empty"},
		"nats://h?bucket=a&bucket=b":            {"parameter bucket is given twice"},
		"nats://h?bucket=a.b":                   {`bucket "a.b" has characters other than`},
		"nats://h?replicas=6":                   {"parameter replicas is not a number in 1–5"},
		"nats://h?replicas=two":                 {"parameter replicas is not a number in 1–5"},
		"nats://h?ca=x":                         {"parameter ca is for TLS: write tls:// instead of nats://"},
		"nats://h?password=secret":              {"parameter password is not known to nats://, which takes ca, cert, key, creds, nkey, bucket, replicas"},
		"tls://h?ca=" + missing:                 {"parameter ca: open " + missing},
		"tls://h?ca=" + text:                    {"has no certificate in PEM form"},
		"tls://h?cert=" + text:                  {"parameters cert and key belong together"},
		"tls://h?cert=" + text + "&key=" + text: {"parameters cert and key: tls: failed to find any PEM data"},
		"nats://h?creds=" + missing:             {"parameter creds: open " + missing},
		"nats://h?creds=" + text:                {text + " has no user"},
		"nats://h?nkey=" + missing:              {"parameter nkey: " + missing},
		"nats://h?nkey=" + text:                 {"parameter nkey: " + text},
		"nats://h?nkey=" + nkey:                 nil,
		"nats://secret@h?nkey=" + nkey:          {"give one of user and password, token, parameter creds and parameter nkey"},
		"etcd://":                               {"a host is missing"},
		"etcd://h":                              nil,
		"etcd://[::1],h:1/":                     nil,
		"etcd://h/a/b/":                         nil,
		"etcd://h//b":                           {`prefix "//b/" is not like /name/`},
		"etcd://u@h":                            {"a user needs a password"},
		"etcd://h?bucket=x":                     {"parameter bucket is not known to etcd://, which takes ca, cert, key"},
		"etcd://h?ca=x":                         {"parameter ca is for TLS: write etcds:// instead of etcd://"},
		"etcds://h?ca=" + text:                  {"has no certificate in PEM form"},
		"https://h:2379":                        {"etcd is written etcd://host:2379, or etcds:// with TLS"},
		// Everything at once.
		"nats://u:@h:0,[x]/y?color=red&replicas=9&ca=z": {
			"user or password is empty", `port is "0"`, "not an IPv6", "takes no path", "parameter color", "parameter replicas", "parameter ca",
		},
	} {
		err := open.Check(url)
		if want == nil {
			require.NoError(t, err, url)
			continue
		}
		require.ErrorIs(t, err, open.ErrInvalid, url)
		for _, w := range want {
			require.ErrorContains(t, err, w, url)
		}
		require.NotContains(t, strings.ReplaceAll(err.Error(), text, ""), "secret", url)
		d, opened := open.Open(url, open.Options{})
		require.Nil(t, d, "no interface around a nil pointer")
		require.EqualError(t, opened, err.Error())
	}
}

func TestRefusesBadTiming(t *testing.T) {
	t.Parallel()
	d, err := open.Open("nats://h", open.Options{Lease: time.Millisecond})
	require.Nil(t, d)
	require.ErrorContains(t, err, "lease 1ms is below")
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"":                                "xxxxx",
		"secret":                          "xxxxx",
		"nats://h":                        "nats://h",
		"nats://u:secret@h:1,[::1]:2":     "nats://u:xxxxx@h:1,[::1]:2",
		"nats://sec%20ret@h":              "nats://xxxxx@h",
		"nats://u%40x:secret@h":           "nats://u%40x:xxxxx@h",
		"nats://u:secret@a,u:secret@b":    "nats://u:xxxxx@a,b",
		"tls://h?nkey=/run/k&bucket=b%20": "tls://h?bucket=b+&nkey=/run/k",
		"nats://u:sec@ret@h":              "nats://xxxxx",
		"redis://u:secret@h/0":            "redis://u:xxxxx@h/0",
	} {
		require.Equal(t, want, open.Redact(url), url)
	}
}

// FuzzRedact: whatever surrounds a password, neither an error nor what is shown contains it.
func FuzzRedact(f *testing.F) {
	for _, seed := range []string{"nats://u:", "@h", "tls://", "@h:1,h:2?ca=x", "nats://h,u:", "/@h", "nats://u:?"} {
		f.Add(seed, "@h")
		f.Add("nats://u:", seed)
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		const password = "p4ssw0rd"
		if scheme, rest, _ := strings.Cut(before, "://"); strings.Contains(scheme, ",") || !strings.HasSuffix(rest, ":") {
			return // the password would not stand where one does
		}
		if !strings.Contains(after, "@") || strings.ContainsAny(after[:strings.Index(after, "@")], "?#") && strings.Contains(before, "?") {
			return // nothing says that it is a password
		}
		url := before + password + after
		if err := open.Check(url); err != nil {
			require.NotContains(t, err.Error(), password, url)
		}
		require.NotContains(t, open.Redact(url), password, url)
	})
}

// lockedBuffer is a log that tests read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// OpenReady says what is in the way when the control plane does not come in time, and leaves nothing behind.
func TestOpenReadyWaitsAndSaysWhyNot(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := open.OpenReady(ctx, "nats://"+freeAddress(t), open.Options{})
	require.ErrorIs(t, err, dcplane.ErrUnavailable)
	_, err = open.OpenReady(ctx, "redis://x", open.Options{})
	require.ErrorIs(t, err, open.ErrInvalid)

	server, err := embedded.Start(within(t), embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Shutdown(context.Background()) }) // the test is over
	d, err := open.OpenReady(within(t), server.URL(), open.Options{})
	require.NoError(t, err)
	require.True(t, d.Ready())
	require.NoError(t, d.Close(within(t)))
}
