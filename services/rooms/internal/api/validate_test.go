package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/actorkit/ask"
)

// Bad input never reaches a room, and the answer names every field that is wrong.
func TestWhatIsWrongIsNamed(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 129)
	for name, c := range map[string]struct {
		method, body string
		fields       []string
	}{
		"no room":             {"GetRoom", `{}`, []string{"room_id"}},
		"room with a slash":   {"GetRoom", `{"room_id":"a/b"}`, []string{"room_id"}},
		"room with a newline": {"GetRoom", `{"room_id":"a\nb"}`, []string{"room_id"}},
		"room with a quote":   {"Ban", `{"room_id":"a'; DROP TABLE events; --","member_id":"m"}`, []string{"room_id"}},
		"room beyond ASCII":   {"History", `{"room_id":"räum"}`, []string{"room_id"}},
		"long room":           {"ListBans", `{"room_id":"` + long + `"}`, []string{"room_id"}},
		"room, and more":      {"Ban", `{"room_id":"","lasting":"0s"}`, []string{"room_id", "member_id", "lasting"}},

		"no member":          {"Kick", `{"room_id":"r"}`, []string{"member_id"}},
		"long member":        {"Mute", `{"room_id":"r","member_id":"` + long + `"}`, []string{"member_id"}},
		"long operation":     {"Unban", `{"room_id":"r","member_id":"m","operation_id":"` + long + `"}`, []string{"operation_id"}},
		"long reason":        {"Kick", `{"room_id":"r","member_id":"m","reason":"` + strings.Repeat("ä", 129) + `"}`, []string{"reason"}},
		"short ban":          {"Ban", `{"room_id":"r","member_id":"m","lasting":"0.9s"}`, []string{"lasting"}},
		"ban of 0":           {"Ban", `{"room_id":"r","member_id":"m","lasting":"0s"}`, []string{"lasting"}},
		"ban into the past":  {"Ban", `{"room_id":"r","member_id":"m","lasting":"-5s"}`, []string{"lasting"}},
		"ban of 101 years":   {"Mute", `{"room_id":"r","member_id":"m","lasting":"3185136000s"}`, []string{"lasting"}},
		"all of a member's":  {"Mute", `{"room_id":"r","operation_id":"` + long + `","lasting":"1ms"}`, nil}, // refused by the decoder
		"uninvite nobody":    {"Uninvite", `{"room_id":"r"}`, []string{"member_id"}},
		"invite nobody":      {"Invite", `{"room_id":"r","moderator":true}`, []string{"member_id"}},
		"unmute nobody":      {"Unmute", `{"room_id":"r"}`, []string{"member_id"}},
		"no settings":        {"UpdateSettings", `{"room_id":"r"}`, []string{"join"}},
		"unspecified level":  {"UpdateSettings", `{"room_id":"r","join":"LEVEL_UNSPECIFIED"}`, []string{"join"}},
		"unknown level":      {"UpdateSettings", `{"room_id":"r","publish":17,"history":-1}`, []string{"publish", "history"}},
		"short retention":    {"UpdateSettings", `{"room_id":"r","retention_age":"59s"}`, []string{"retention_age"}},
		"negative retention": {"UpdateSettings", `{"room_id":"r","retention_age":"-60s"}`, []string{"retention_age"}},
		"slow messages":      {"UpdateSettings", `{"room_id":"r","message_rate":{"per_second":0.0001}}`, []string{"message_rate"}},
		"no burst":           {"UpdateSettings", `{"room_id":"r","message_rate":{"per_second":5,"burst":0.5}}`, []string{"message_rate"}},
		"too many of both":   {"UpdateSettings", `{"room_id":"r","message_rate":{"per_second":2e9},"byte_rate":{"per_second":1,"burst":86401}}`, []string{"message_rate", "byte_rate"}},
		"no rates":           {"UpdateSettings", `{"room_id":"r","message_rate":{"per_second":"NaN"},"byte_rate":{"per_second":-1}}`, []string{"message_rate", "byte_rate"}},
		"page token":         {"ListMembers", `{"room_id":"r","page_token":"!"}`, []string{"page_token"}},
		"page token, padded": {"ListMutes", `{"room_id":"r","page_token":"YQ=="}`, []string{"page_token"}},
		"page token, binary": {"ListInvitations", `{"room_id":"r","page_token":"_w"}`, []string{"page_token"}},
		"both bounds":        {"History", `{"room_id":"r","before_seq":5,"after_seq":1}`, []string{"after_seq"}},
		"before the first":   {"History", `{"room_id":"r","before_seq":"0"}`, []string{"before_seq"}},
		"block nobody":       {"BlockMember", `{"lasting":"0s"}`, []string{"member_id", "lasting"}},
		"block with a NUL":   {"BlockMember", `{"member_id":"a\u0000","reason":"\u0000"}`, []string{"member_id", "reason"}},
		"unblock nobody":     {"UnblockMember", `{}`, []string{"member_id"}},
		"blocked, page":      {"ListBlockedMembers", `{"page_token":"!"}`, []string{"page_token"}},
		"no sender":          {"Publish", `{"room_id":"r","content":"x"}`, []string{"sender"}},
		"long message id":    {"Publish", `{"room_id":"r","sender":"s","message_id":"` + long + `"}`, []string{"message_id"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			a := b.call(c.method, c.body)
			require.Equal(t, http.StatusBadRequest, a.status, "%s", a.text)
			require.Equal(t, "invalid_argument", a.body["code"])
			require.Equal(t, c.fields, a.fields(), "%s", a.text)
			for _, field := range c.fields {
				require.Contains(t, a.body["message"], field+": ")
			}
			want := "INVALID_ARGUMENT"
			if len(c.fields) > 0 && c.fields[0] == "room_id" {
				want = "INVALID_ROOM"
			}
			if c.fields != nil {
				require.Equal(t, want, a.debug("ErrorInfo")["reason"])
			}
			require.Zero(t, b.rooms.count(), "it did not reach the room")
		})
	}
}

// What cannot be read at all is refused with where it went wrong; above all a misspelt field.
func TestWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for body, want := range map[string]string{
		``:    "body is empty",
		`{`:   "unexpected EOF",
		`[]`:  "unexpected token",
		`"x"`: "unexpected token",
		`{"room_id":"r","member_id":"m","lastin":"60s"}`:    `"lastin"`,
		`{"room_id":"r","member_id":"m","lasting":"10m"}`:   "google.protobuf.Duration",
		`{"room_id":7,"member_id":"m"}`:                     "roomId",
		`{"room_id":"r","member_id":"m","member_id":"n"}`:   "member_id",
		"{\"room_id\":\"r\",\"member_id\":\"\xff\"}":        "UTF-8",
		`{"room_id":"r","member_id":"m"}{"room_id":"r"}`:    "unexpected token",
		`{"room_id":"r","member_id":"m","operation_id":{}}`: "operationId",
	} {
		a := b.call("Ban", body)
		require.Equal(t, http.StatusBadRequest, a.status, "%s: %s", body, a.text)
		require.Equal(t, "invalid_argument", a.body["code"])
		require.Contains(t, a.body["message"], want, "%s", body)
	}
	require.Zero(t, b.rooms.count())

	a := b.call("Ban", "{}", func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") })
	require.Equal(t, http.StatusUnsupportedMediaType, a.status)
	a = b.call("Ban", "{}", func(r *http.Request) { r.Method = http.MethodGet })
	require.Equal(t, http.StatusMethodNotAllowed, a.status)
	require.Equal(t, http.StatusNotFound, b.call("Nonsense", "{}").status)
}

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.MaxContentBytes = 1024 })
	a := b.call("Publish", `{"room_id":"r","sender":"s","content":"`+strings.Repeat("x", 64<<10)+`"}`)
	require.Equal(t, "resource_exhausted", a.body["code"], "%s", a.text)
	require.Zero(t, b.rooms.count())
	b.rooms.says(nil, ask.ErrUnreachable)
	a = b.call("Publish", `{"room_id":"r","sender":"s","content":"`+strings.Repeat(`\u0001`, 1024)+`"}`)
	require.Equal(t, "unavailable", a.body["code"], "a content that the room may take comes through, however it is written")
}
