package cli

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/dcplane/memory"
	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/opskit/auth"
	journalmemory "github.com/parley-rt/parley/libs/persistence/memory"
	"github.com/parley-rt/parley/services/rooms"
)

// hmacSecret has the word that run does not let through.
const hmacSecret = "canary-canary-canary-canary-canary"

// startAPI starts a rooms node and returns the flag that names its API.
func startAPI(t *testing.T, authentication auth.Config) string {
	t.Helper()
	dir, err := memory.NewPlane().Open(t.Context(), memory.Config{})
	require.NoError(t, err)
	svc, err := rooms.New(rooms.Config{
		DC: "dc-a", Node: "rooms-1", DataDir: t.TempDir(), APIListen: "127.0.0.1:0", Auth: authentication,
	}, rooms.Deps{Backend: journalmemory.New(journalmemory.Options{}), Directory: dir})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, svc.Start(ctx))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, svc.Stop(ctx))
		require.NoError(t, dir.Close(ctx))
	})
	return "--api=http://" + svc.APIAddr()
}

func openAPI(t *testing.T) string { return startAPI(t, auth.Config{Mode: auth.ModeNone}) }

// misused is run for a command that was not understood.
func misused(t *testing.T, says string, args ...string) {
	t.Helper()
	stdout, stderr, code := run(t, args...)
	require.Equal(t, 2, code, stdout+stderr)
	require.Contains(t, stderr, says)
	require.Empty(t, stdout)
}

// document decodes the one JSON object that a command printed.
func document(t *testing.T, stdout string) map[string]any {
	t.Helper()
	var doc map[string]any
	require.NoError(t, json.Unmarshal([]byte(stdout), &doc), stdout)
	require.Equal(t, 1, strings.Count(stdout, "\n"), "one line")
	return doc
}

func TestModerateARoom(t *testing.T) {
	t.Parallel()
	api := openAPI(t)
	fails(t, "the room was never used", "room", "show", "lobby", api)

	require.Regexp(t, `^banned eve in lobby until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d at seq 1\n$`,
		must(t, "room", "ban", "lobby", "eve", "--for", "10m", "--reason", "spam \x1b[2J", api))
	require.Equal(t, "banned mallory in lobby for good at seq 2\n", must(t, "room", "ban", "lobby", "mallory", api))
	require.Equal(t, "mallory in lobby is banned like that already\n", must(t, "room", "ban", "lobby", "mallory", api))
	bans := must(t, "room", "bans", "lobby", api)
	require.Regexp(t, `(?m)^MEMBER +SINCE +UNTIL +BY +REASON\neve +\S+ \S+ +\S+ \S+ +anonymous +spam .\[2J\nmallory +\S+ \S+ +for good +anonymous`, bans)
	require.NotContains(t, bans, "\x1b")
	require.Equal(t, 3, strings.Count(must(t, "room", "bans", "lobby", "--limit", "0", api), "\n"))
	require.Equal(t, 2, strings.Count(must(t, "room", "bans", "lobby", "--limit", "1", api), "\n"))
	ban := document(t, must(t, "room", "bans", "lobby", "--json", "--limit", "1", api))
	require.Equal(t, "eve", ban["member_id"])
	require.Equal(t, "1", ban["seq"])
	require.Equal(t, "ended the ban of eve in lobby at seq 3\n", must(t, "room", "unban", "lobby", "eve", api))
	require.Equal(t, "eve in lobby was not banned\n", must(t, "room", "unban", "lobby", "eve", api))

	require.Regexp(t, `^muted eve in lobby for good at seq 4\n$`, must(t, "room", "mute", "lobby", "eve", api))
	require.Contains(t, must(t, "room", "mutes", "lobby", api), "eve ")
	require.Equal(t, "ended the mute of eve in lobby at seq 5\n", must(t, "room", "unmute", "lobby", "eve", api))
	require.Equal(t, "nobody is muted in lobby\n", must(t, "room", "mutes", "lobby", api))

	require.Equal(t, "invited ada in lobby at seq 6\n", must(t, "room", "invite", "lobby", "ada", "--moderator", api))
	require.Regexp(t, `(?m)^ada +\S+ \S+ +true +anonymous$`, must(t, "room", "invitations", "lobby", api))
	require.Equal(t, "took back the invitation of ada in lobby at seq 7\n", must(t, "room", "uninvite", "lobby", "ada", api))
	require.Equal(t, "nobody is invited to lobby\n", must(t, "room", "invitations", "lobby", api))

	require.Equal(t, "kicked eve in lobby at seq 8\n", must(t, "room", "kick", "lobby", "eve", "--reason", "bye", api))
	require.Equal(t, "nobody is in lobby\n", must(t, "room", "members", "lobby", api))
	room := document(t, must(t, "room", "show", "lobby", "--json", api))
	require.Equal(t, "rooms-1", room["node"])
	require.Equal(t, "8", room["head"])
	require.EqualValues(t, 1, room["bans"])
	require.Regexp(t, `(?m)^members +0, 0 online$`, must(t, "room", "show", "lobby", api))
}

// A change that is asked for twice with the same operation id is carried out once.
func TestOperationID(t *testing.T) {
	t.Parallel()
	api := openAPI(t)
	kick := []string{"room", "kick", "lobby", "eve", "--operation-id", "op-1", api}
	require.Equal(t, "kicked eve in lobby at seq 1\n", must(t, kick...))
	require.Equal(t, "kicked eve in lobby before, with this operation id, at seq 1\n", must(t, kick...))
	require.Equal(t, "kicked eve in lobby at seq 2\n", must(t, "room", "kick", "lobby", "eve", api), "without one it is another")
}

func TestRoomSettings(t *testing.T) {
	t.Parallel()
	api := openAPI(t)
	set := must(t, "room", "set", "lobby", "--join", "invited", "--publish", "moderators", "--history", "nobody", "--presence-events",
		"--retention-age", "720h", "--retention-count", "1000", "--max-content-bytes", "512", api)
	require.Contains(t, set, "changed the settings of lobby at seq 1\n")
	shown := must(t, "room", "settings", "lobby", api)
	for _, want := range []string{
		`join +invited`, `publish +moderators`, `history +nobody`, `presence events +true`, `retention age +720h0m0s`,
		`retention count +1000`, `max content bytes +512`,
	} {
		require.Regexp(t, `(?m)^`+want+`$`, shown)
		require.Regexp(t, `(?m)^`+want+`$`, set)
	}
	must(t, "room", "set", "lobby", "--no-presence-events", "--retention-age", "0", "--retention-count", "0", api)
	settings := document(t, must(t, "room", "settings", "lobby", "--json", api))
	require.Equal(t, map[string]any{
		"join": "LEVEL_INVITED", "publish": "LEVEL_MODERATORS", "history": "LEVEL_NOBODY", "presence_events": false,
		"retention_count": "0", "max_content_bytes": float64(512),
	}, settings)
	require.Contains(t, must(t, "room", "set", "lobby", "--join", "invited", api), "like that already")

	require.Regexp(t, `(?m)^message rate +as the service limits it\nbyte rate +1000:5000$`, must(t, "room", "set", "lobby", "--byte-rate", "1000", api))
	rates := document(t, must(t, "room", "set", "lobby", "--message-rate", "0.5:20", "--byte-rate", "0", "--json", api))["settings"]
	require.Subset(t, rates, map[string]any{"message_rate": map[string]any{"per_second": 0.5, "burst": float64(20)}})
	require.NotContains(t, rates, "byte_rate")
}

func TestPublishAndHistory(t *testing.T) {
	t.Parallel()
	api := openAPI(t)
	for i := range 5 {
		require.Equal(t, string(rune('1'+i))+"\n", must(t, "room", "publish", "lobby", "line "+string(rune('1'+i)), "--as", "bot", api))
	}
	again := []string{"room", "publish", "lobby", "\x1b[31mred", "--as", "bot", "--message-id", "m1", "--json", api}
	require.Equal(t, false, document(t, must(t, again...))["duplicate"])
	require.Equal(t, true, document(t, must(t, again...))["duplicate"])

	all := must(t, "room", "history", "lobby", api)
	require.Equal(t, 6, strings.Count(all, "\n"))
	require.Regexp(t, `(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  #1    bot: line 1$`, all)
	require.NotContains(t, all, "\x1b")
	require.Contains(t, must(t, "room", "history", "lobby", "-n", "1", api), "[31mred")
	older := must(t, "room", "history", "lobby", "--before", "3", api)
	require.Contains(t, older, "line 2\n")
	require.NotContains(t, older, "line 3")
	newer := must(t, "room", "history", "lobby", "--after", "4", "-n", "1", "--json", api)
	require.Equal(t, "line 5", document(t, newer)["content"])
}

func TestRoomMistakes(t *testing.T) {
	t.Parallel()
	api := openAPI(t)
	misused(t, "room id must match", "room", "show", "a b", api)
	misused(t, "--join", "room", "set", "lobby", "--join", "friends", api)
	misused(t, "number:burst", "room", "set", "lobby", "--message-rate", "fast", api)
	misused(t, "rate 2e+09 a second is not in", "room", "set", "lobby", "--byte-rate", "2000000000", api)
	misused(t, "no setting is given", "room", "set", "lobby", api)
	misused(t, "at least 1s", "room", "ban", "lobby", "eve", "--for", "0s", api)
	misused(t, "--for", "room", "ban", "lobby", "eve", "--for", "soon", api)
	misused(t, "member_id: has 129 bytes", "room", "kick", "lobby", strings.Repeat("x", 129), api)
	misused(t, "--as", "room", "publish", "lobby", "hello", api)
	misused(t, "--before", "room", "history", "lobby", "--before", "3", "--after", "1", api)
	misused(t, "--limit", "room", "history", "lobby", "-n", "0", api)
	misused(t, "--api", "room", "show", "lobby", "--api", "lobby.example:8081")
	misused(t, "--operation-ide", "room", "kick", "lobby", "eve", "--operation-ide", "x", api)

	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	gone := nobody.Addr().String()
	require.NoError(t, nobody.Close())
	said := fails(t, "parley dev", "room", "show", "lobby", "--api", "http://"+gone)
	require.Contains(t, said, gone)
	require.Contains(t, said, "--api")
}

// The server does not answer: the command ends in its time and says that it does not know.
func TestRoomCommandEnds(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = silent.Close() }()
	began := time.Now()
	fails(t, "may have been done", "room", "kick", "lobby", "eve", "--timeout", "300ms", "--api", "http://"+silent.Addr().String())
	require.Less(t, time.Since(began), 30*time.Second)
}

func TestTokens(t *testing.T) {
	t.Parallel()
	api := startAPI(t, auth.Config{Mode: auth.ModeJWT, HMACSecret: opskit.NewSecret(hmacSecret), Audience: "parley", Issuer: "us"})
	said := fails(t, "parley:admin", "room", "ban", "lobby", "eve", api)
	require.Contains(t, said, "parley token --admin")

	token := must(t, "token", "--admin", "--subject", "ops@example.com", "--audience", "parley", "--issuer", "us", "--hmac-secret", hmacSecret)
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(token), 0o600))
	must(t, "room", "ban", "lobby", "eve", "--token-file", file, api)
	require.Contains(t, must(t, "room", "bans", "lobby", "--token", strings.TrimSpace(token), api), "ops@example.com", "who did it")

	for name, args := range map[string][]string{
		"another secret": {"--hmac-secret", strings.ToUpper(hmacSecret), "--audience", "parley", "--issuer", "us"},
		"no audience":    {"--hmac-secret", hmacSecret, "--issuer", "us"},
		"another issuer": {"--hmac-secret", hmacSecret, "--audience", "parley", "--issuer", "them"},
	} {
		token := must(t, append([]string{"token", "--admin"}, args...)...)
		fails(t, "parley:admin", "room", "bans", "lobby", "--token", strings.TrimSpace(token), api)
		require.NotEmpty(t, token, name)
	}

	misused(t, "--admin", "token", "--hmac-secret", hmacSecret)
	misused(t, "at least 32 bytes", "token", "--admin", "--hmac-secret", "short")
	misused(t, "at least 32 bytes", "token", "--admin")
	misused(t, "--for", "token", "--admin", "--for", "-1h", "--hmac-secret", hmacSecret)
	misused(t, "keep one", "room", "bans", "lobby", "--token", "x", "--token-file", file, api)
	fails(t, "--token-file", "room", "bans", "lobby", "--token-file", file+".gone", api)
	require.NoError(t, os.WriteFile(file, []byte("\n"), 0o600))
	fails(t, "is empty", "room", "bans", "lobby", "--token-file", file, api)
}
