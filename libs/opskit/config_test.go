package opskit

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"
)

type limits struct {
	MaxRooms int           `default:"100" help:"Rooms a connection may join."`
	Timeout  time.Duration `default:"5s" help:"Time to answer."`
}

func (l *limits) Validate() error {
	var errs []error
	if l.MaxRooms < 1 {
		errs = append(errs, errors.New("limit-max-rooms must be at least 1"))
	}
	if l.Timeout <= 0 {
		errs = append(errs, errors.New("limit-timeout must be positive"))
	}
	return errors.Join(errs...)
}

type testConfig struct {
	Listen  string            `default:"127.0.0.1:8080" help:"Address for clients."`
	DC      string            `required:"" help:"Datacenter."`
	Mode    string            `enum:"jwt,none" default:"jwt" help:"How members authenticate."`
	Seeds   []string          `help:"Other nodes."`
	Labels  map[string]string `help:"Labels."`
	Verbose bool              `help:"Say more."`
	Key     Secret            `help:"Signing key."`
	Log     LogConfig         `embed:"" prefix:"log-"`
	Limit   limits            `embed:"" prefix:"limit-"`
	Home    string            `env:"PLAIN_HOME" help:"Has a variable of its own."`
	NoEnv   string            `env:"-" help:"Has none."`
	Skipped chan int          `kong:"-"`
}

func (c *testConfig) Validate() error {
	if c.Listen == c.DC {
		return errors.Join(errors.New("listen and dc are the same"), c.Limit.Validate())
	}
	return c.Limit.Validate() // as a hand-written composition would
}

// load runs Load with an environment and a file's content ("" = no file).
func load(t *testing.T, file string, environ []string, args ...string) (testConfig, error) {
	t.Helper()
	if file != "" {
		path := filepath.Join(t.TempDir(), "parley.yaml")
		require.NoError(t, os.WriteFile(path, []byte(file), 0o600))
		args = append(args, "--config", path)
	}
	if environ == nil {
		environ = []string{}
	}
	var cfg testConfig
	_, err := Load(&cfg, args, LoadOptions{Name: "gateway", Environ: environ})
	return cfg, err
}

func problems(t *testing.T, err error) []string {
	t.Helper()
	var ce *ConfigError
	require.ErrorAs(t, err, &ce)
	var texts []string
	for _, p := range ce.Problems {
		texts = append(texts, p.Error())
	}
	return texts
}

// The order that kong gets wrong by itself: its resolvers, and so a file, beat
// the environment.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	const file = "dc: from-file\nlisten: file:1\n"
	for name, tc := range map[string]struct {
		file string
		env  []string
		args []string
		want string
	}{
		"default":                   {args: []string{"--dc=x"}, want: "127.0.0.1:8080"},
		"file beats default":        {file: file, want: "file:1"},
		"environment beats file":    {file: file, env: []string{"PARLEY_LISTEN=env:2"}, want: "env:2"},
		"environment beats default": {env: []string{"PARLEY_LISTEN=env:2", "PARLEY_DC=x"}, want: "env:2"},
		"flag beats environment":    {file: file, env: []string{"PARLEY_LISTEN=env:2"}, args: []string{"--listen=flag:3"}, want: "flag:3"},
		"flag beats file":           {file: file, args: []string{"--listen", "flag:3"}, want: "flag:3"},
		"empty variable is a value": {file: file, env: []string{"PARLEY_LISTEN="}, want: ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, err := load(t, tc.file, tc.env, tc.args...)
			require.NoError(t, err)
			require.Equal(t, tc.want, cfg.Listen)
		})
	}
}

func TestEverySourceSetsEveryType(t *testing.T) {
	t.Parallel()
	want := testConfig{
		Listen: "l:1", DC: "eu", Mode: "none", Seeds: []string{"a:1", "b,c:2"}, Labels: map[string]string{"x": "1", "y": "2"}, Verbose: true,
		Limit: limits{MaxRooms: 7, Timeout: 2 * time.Second}, Log: LogConfig{Level: 4, Format: "json"},
	}
	check := func(t *testing.T, cfg testConfig, err error) {
		t.Helper()
		require.NoError(t, err)
		require.Equal(t, hidden, cfg.Key.Reveal())
		cfg.Key = Secret{}
		require.Equal(t, want, cfg)
	}
	t.Run("nested file", func(t *testing.T) {
		t.Parallel()
		cfg, err := load(t, "listen: l:1\ndc: eu\nmode: none\nseeds: [\"a:1\", \"b,c:2\"]\nlabels: {x: 1, y: 2}\nverbose: true\nkey: hunter2\n"+
			"limit:\n  max_rooms: 7\n  timeout: 2s\nlog: {level: warn, format: json}\n", nil)
		check(t, cfg, err)
	})
	t.Run("flat file", func(t *testing.T) {
		t.Parallel()
		cfg, err := load(t, "listen: l:1\ndc: &dc eu\nmode: none\nseeds: [\"a:1\", \"b,c:2\"]\nlabels: {x: \"1\", y: 2}\nverbose: yes\nkey: hunter2\n"+
			"limit_max_rooms: 7\nlimit-timeout: 2s\nlog_level: warn\nlog-format: json\n", nil)
		check(t, cfg, err)
	})
	t.Run("environment", func(t *testing.T) {
		t.Parallel()
		cfg, err := load(t, "", []string{
			"PARLEY_LISTEN=l:1", "PARLEY_DC=eu", "PARLEY_MODE=none", `PARLEY_SEEDS=a:1,b\,c:2`, "PARLEY_LABELS=x=1;y=2",
			"PARLEY_VERBOSE=true", "PARLEY_KEY=hunter2", "PARLEY_LIMIT_MAX_ROOMS=7", "PARLEY_LIMIT_TIMEOUT=2s",
			"PARLEY_LOG_LEVEL=warn", "PARLEY_LOG_FORMAT=json", "HOME=/ignored", "broken",
		})
		check(t, cfg, err)
	})
	t.Run("flags", func(t *testing.T) {
		t.Parallel()
		cfg, err := load(t, "", nil, "--listen=l:1", "--dc=eu", "--mode", "none", "--seeds=a:1", `--seeds=b\,c:2`, "--labels=x=1;y=2", "--verbose",
			"--key=hunter2", "--limit-max-rooms=7", "--limit-timeout=2s", "--log-level=warn", "--log-format=json")
		check(t, cfg, err)
	})
}

func TestOwnVariableNames(t *testing.T) {
	t.Parallel()
	cfg, err := load(t, "home: file\n", []string{"PLAIN_HOME=env", "PARLEY_DC=x"})
	require.NoError(t, err)
	require.Equal(t, "env", cfg.Home)

	_, err = load(t, "", []string{"PARLEY_NO_ENV=x", "PARLEY_DC=x"})
	require.Equal(t, []string{"unknown variable PARLEY_NO_ENV"}, problems(t, err))
}

// Kong ignores keys it does not know; a setting that does nothing is worse than
// a process that does not start.
func TestUnknownNamesAreErrorsWithASuggestion(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		file string
		env  []string
		args []string
		want string
	}{
		"file":          {file: "dc: x\nlistn: a\n", want: `parley.yaml:2: unknown key "listn": did you mean "listen"?`},
		"nested file":   {file: "dc: x\nlimit:\n  max_room: 1\n", want: `parley.yaml:3: unknown key "limit_max_room": did you mean "limit_max_rooms"?`},
		"nowhere near":  {file: "dc: x\nzzzzzzzzz: a\n", want: `parley.yaml:2: unknown key "zzzzzzzzz"`},
		"config itself": {file: "dc: x\nconfig: other.yaml\n", want: `parley.yaml:2: unknown key "config"`},
		"environment":   {env: []string{"PARLEY_DC=x", "PARLEY_LISEN=a"}, want: `unknown variable PARLEY_LISEN: did you mean "PARLEY_LISTEN"?`},
		"only secrets":  {env: []string{"PARLEY_DC=x", "PARLEY_LISTEN_FILE=a"}, want: `unknown variable PARLEY_LISTEN_FILE`},
		"flag":          {args: []string{"--dc=x", "--lisen=a"}, want: `unknown flag --lisen, did you mean "--listen"?`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, tc.file, tc.env, tc.args...)
			got := problems(t, err)
			require.Len(t, got, 1)
			require.Contains(t, got[0], tc.want)
		})
	}
}

func TestVariablesOfOthersAreLeftAlone(t *testing.T) {
	t.Parallel()
	environ := []string{
		"PARLEY_DC=x", "PARLEY_GATEWAY_SERVICE_HOST=10.0.0.1", "PARLEY_GATEWAY_SERVICE_PORT=80", "PARLEY_GATEWAY_SERVICE_PORT_HTTP=80",
		"PARLEY_GATEWAY_PORT=tcp://10.0.0.1:80", "PARLEY_GATEWAY_PORT_80_TCP=tcp://10.0.0.1:80", "PARLEY_GATEWAY_PORT_80_TCP_ADDR=10.0.0.1",
	}
	_, err := load(t, "", environ)
	require.NoError(t, err)

	var cfg testConfig
	_, err = Load(&cfg, nil, LoadOptions{Environ: []string{"PARLEY_DC=x", "PARLEY_TEST_SEED=1"}, KnownEnv: func(name string) bool {
		return strings.HasPrefix(name, "PARLEY_TEST_")
	}})
	require.NoError(t, err)
}

func TestAllProblemsAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := load(t, "mode: jwtt\nseeds: {a: b}\nverbose: maybe\nlisten:\nlimit_max_rooms: 1\nlimit: {max-rooms: 2}\n",
		[]string{"PARLEY_LIMIT_TIMEOUT=soon", "PARLEY_LOG_FORMAT=xml", "PARLEY_VERBOSE=", "PARLEY_KEY=a", "PARLEY_KEY_FILE=b"},
		"--bogus", "5", "--limit-max-rooms=many", "--mode=tokn", "stray")

	got := problems(t, err)
	for i, want := range []string{
		"unknown flag --bogus",
		"--limit-max-rooms",
		"unexpected argument stray",
		`--mode: must be one of jwt, none, not "tokn"`,
		"PARLEY_VERBOSE is set but empty",
		"PARLEY_KEY and PARLEY_KEY_FILE are both set: keep one",
		`PARLEY_LOG_FORMAT: must be one of auto, json, text, not "xml"`,
		"PARLEY_LIMIT_TIMEOUT: ",
		`parley.yaml:1: mode: must be one of jwt, none, not "jwtt": did you mean "jwt"?`,
		"parley.yaml:2: seeds: is a mapping, but one value is wanted",
		"parley.yaml:3: verbose: ",
		"parley.yaml:4: listen: has no value",
		"parley.yaml:6: limit_max_rooms: already set in line 5",
		"PARLEY_DC (or --dc) is required: Datacenter.",
	} {
		require.Less(t, i, len(got), "missing %q in\n%v", want, err)
		require.Contains(t, got[i], want, "in\n%v", err)
	}
	require.Len(t, got, 14)
	require.True(t, strings.HasPrefix(err.Error(), "configuration has 14 problems:\n  - unknown flag --bogus"), err.Error())
}

func TestMissingAndInvalidAreReportedTogether(t *testing.T) {
	t.Parallel()
	_, err := load(t, "", nil, "--limit-max-rooms=0", "--limit-timeout=0s")
	require.Equal(t, []string{"PARLEY_DC (or --dc) is required: Datacenter.", "limit-max-rooms must be at least 1", "limit-timeout must be positive"}, problems(t, err))

	_, err = load(t, "", nil, "--listen=a", "--dc=a", "--limit-max-rooms=0")
	require.Equal(t, []string{"limit-max-rooms must be at least 1", "listen and dc are the same"}, problems(t, err))

	_, err = load(t, "", nil)
	require.EqualError(t, err, "configuration: PARLEY_DC (or --dc) is required: Datacenter.")
}

func TestSecretFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	cfg, err := load(t, "", []string{"PARLEY_DC=x", "PARLEY_KEY_FILE=" + write("good", hidden+"\n")})
	require.NoError(t, err)
	require.Equal(t, hidden, cfg.Key.Reveal())

	cfg, err = load(t, "key: other\n", []string{"PARLEY_DC=x", "PARLEY_KEY_FILE=" + write("windows", hidden+"\r\n")})
	require.NoError(t, err)
	require.Equal(t, hidden, cfg.Key.Reveal(), "it is the environment, so it beats the file")

	_, err = load(t, "", []string{"PARLEY_DC=x", "PARLEY_KEY_FILE=" + write("empty", "\n")})
	require.ErrorContains(t, err, "PARLEY_KEY_FILE: read secret "+filepath.Join(dir, "empty")+": the file is empty")

	_, err = load(t, "", []string{"PARLEY_DC=x", "PARLEY_KEY_FILE=" + filepath.Join(dir, "absent")})
	require.ErrorIs(t, err, os.ErrNotExist)

	_, err = load(t, "", []string{"PARLEY_DC=x", "PARLEY_KEY_FILE=" + write("huge", strings.Repeat("x", maxSecretFile+1))})
	require.ErrorContains(t, err, "more than the 1048576 allowed")
}

func TestFileProblems(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ file, want string }{
		"not yaml":      {"dc: [", "parley.yaml: yaml: "},
		"a list":        {"- dc", "parley.yaml:1: the file must be a mapping of settings"},
		"two documents": {"dc: x\n---\ndc: y\n", "parley.yaml: more than one YAML document"},
		"huge":          {"dc: x\n#" + strings.Repeat("x", maxConfigFile), "more than 1048576 bytes"},
		"nested list":   {"dc: x\nseeds: [[a]]\n", "seeds: line 2: only plain values are allowed here"},
		"list of one":   {"dc: [x]\n", "dc: is a list, but one value is wanted"},
		"not a group":   {"dc: x\nlimit: 5\n", `unknown key "limit"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, tc.file, nil)
			require.ErrorContains(t, err, tc.want)
		})
	}
	for _, empty := range []string{"\n", "# nothing\n", "null\n", "---\n"} {
		_, err := load(t, empty, nil, "--dc=x")
		require.NoError(t, err)
	}
	_, err := load(t, "", nil, "--dc=x", "--config", "/does/not/exist.yaml")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestConfigFileFromTheEnvironment(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "c.yaml")
	require.NoError(t, os.WriteFile(path, []byte("dc: from-file\n"), 0o600))
	cfg, err := load(t, "", []string{"PARLEY_CONFIG=" + path})
	require.NoError(t, err)
	require.Equal(t, "from-file", cfg.DC)

	cfg, err = load(t, "dc: from-flag\n", []string{"PARLEY_CONFIG=" + path})
	require.NoError(t, err)
	require.Equal(t, "from-flag", cfg.DC)
}

func TestHelp(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	var cfg testConfig
	_, err := Load(&cfg, []string{"--help", "--bogus=1"}, LoadOptions{
		Name: "gateway", Description: "Talks to clients.", Environ: []string{"PARLEY_MODE=wrong"}, Stdout: &out,
	})
	require.ErrorIs(t, err, ErrHelp)
	for _, want := range []string{"Usage: gateway", "Talks to clients.", "--listen=", "Address for clients ($PARLEY_LISTEN).", "$PLAIN_HOME", "--config=FILE", "$PARLEY_CONFIG"} {
		require.Contains(t, out.String(), want)
	}
}

type cli struct {
	Dev struct {
		Listen string `default:":0"`
	} `cmd:"" help:"Run everything."`
	Chat struct {
		Room string `arg:""`
		Name string `required:""`
		Wait limits `embed:"" prefix:"wait-"`
	} `cmd:"" help:"Talk."`
}

func TestCommands(t *testing.T) {
	t.Parallel()
	parse := func(args ...string) (cli, *kong.Context, error) {
		var c cli
		ctx, err := Load(&c, args, LoadOptions{Name: "parley", Environ: []string{}})
		return c, ctx, err
	}
	c, ctx, err := parse("chat", "room-1", "--name=ann")
	require.NoError(t, err)
	require.Equal(t, "chat <room>", ctx.Command())
	require.Equal(t, "room-1", c.Chat.Room)
	require.Equal(t, 100, c.Chat.Wait.MaxRooms)

	_, _, err = parse("dev")
	require.NoError(t, err, "the other command's required flags and rules do not count")

	_, _, err = parse("chat", "room-1", "--wait-max-rooms=-1")
	require.Equal(t, []string{"PARLEY_NAME (or --name) is required", "limit-max-rooms must be at least 1"}, problems(t, err))

	_, _, err = parse("chatt")
	require.ErrorContains(t, err, "unexpected argument chatt")

	_, _, err = parse("chat", "--name=ann")
	require.ErrorContains(t, err, `expected "<room>"`)
}

func TestAStructKongCannotReadIsTheProgrammersError(t *testing.T) {
	t.Parallel()
	_, err := Load(&struct {
		A string `default:"x"`
		B chan int
	}{}, nil, LoadOptions{Environ: []string{}})
	require.ErrorContains(t, err, "configuration struct")
	var ce *ConfigError
	require.False(t, errors.As(err, &ce))
}

func TestReference(t *testing.T) {
	t.Parallel()
	settings, err := Settings(&testConfig{}, LoadOptions{})
	require.NoError(t, err)
	table := Reference(settings)
	for _, row := range []string{
		"| `--listen` | `PARLEY_LISTEN` | `listen` | `127.0.0.1:8080` | Address for clients. (string) |",
		"| `--dc` | `PARLEY_DC` | `dc` | required | Datacenter. (string) |",
		"| `--mode` | `PARLEY_MODE` | `mode` | `jwt` | How members authenticate. One of jwt, none. (string) |",
		"| `--seeds` | `PARLEY_SEEDS` | `seeds` | – | Other nodes. (list) |",
		"| `--key` | `PARLEY_KEY` or `PARLEY_KEY_FILE` | `key` | – | Signing key. (secret) |",
		"| `--limit-timeout` | `PARLEY_LIMIT_TIMEOUT` | `limit_timeout` | `5s` | Time to answer. (duration) |",
		"| `--limit-max-rooms` | `PARLEY_LIMIT_MAX_ROOMS` | `limit_max_rooms` | `100` | Rooms a connection may join. (number) |",
		"| `--home` | `PLAIN_HOME` | `home` | – | Has a variable of its own. (string) |",
		"| `--no-env` |  | `no_env` | – | Has none. (string) |",
		"| `--verbose` | `PARLEY_VERBOSE` | `verbose` | – | Say more. (flag) |",
		"| `--config` | `PARLEY_CONFIG` |  | – | YAML file with settings; the environment and flags override it. (string) |",
	} {
		require.Contains(t, table, row+"\n")
	}
	commands, err := Settings(&cli{}, LoadOptions{})
	require.NoError(t, err)
	require.Contains(t, Reference(commands), "| `chat --name` |")
}

func TestApplyDefaults(t *testing.T) {
	t.Parallel()
	cfg := testConfig{Mode: "none"}
	require.NoError(t, ApplyDefaults(&cfg))
	require.Equal(t, "none", cfg.Mode)
	require.Equal(t, 100, cfg.Limit.MaxRooms)
	require.Equal(t, 5*time.Second, cfg.Limit.Timeout)
}

func TestEditDistance(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"listen", "listen", 0}, {"listn", "listen", 1}, {"lisetn", "listen", 1}, {"kitten", "sitting", 3}} {
		require.Equal(t, tc.want, editDistance(tc.a, tc.b), "%s %s", tc.a, tc.b)
	}
	require.Equal(t, `: did you mean "max_rooms"?`, didYouMean("max", []string{"listen", "max_rooms"}))
	require.Empty(t, didYouMean("x", []string{"listen"}))
}
