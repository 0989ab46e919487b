package auth

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/opskit"
)

func secretOf(s string) opskit.Secret { return opskit.NewSecret(s) }

func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{"room-1", []string{"room-1"}, []string{"room-2", "room-", "room-11", "Room-1", ""}},
		{"*", []string{"a", "a.b:c_d-e"}, nil},
		{"chat-*", []string{"chat-", "chat-1", "chat-a-b"}, []string{"chat", "xchat-1", "chat_1"}},
		{"*-private", []string{"-private", "a-private"}, []string{"a-private2", "private"}},
		{"a*a", []string{"aa", "aba", "aaa"}, []string{"a", "ab", "ba"}},
		{"*a*b*", []string{"ab", "xaxbx", "aab"}, []string{"ba", "a", "b"}},
		{"a**b", []string{"ab", "axb"}, []string{"a", "b"}},
		{"team:*:chat:*", []string{"team:1:chat:2", "team::chat:"}, []string{"team:1:chat", "team:1"}},
	} {
		g, err := NewGrants([]Grant{{c.pattern, Join}})
		require.NoError(t, err)
		for _, room := range c.yes {
			require.True(t, g.May(Join, room), "%s %s", c.pattern, room)
			require.False(t, g.May(Publish, room), "%s %s", c.pattern, room)
		}
		for _, room := range c.no {
			require.False(t, g.May(Join, room), "%s %s", c.pattern, room)
		}
	}
}

func TestGrantsAreTheUnion(t *testing.T) {
	t.Parallel()
	p, err := verifier(t, config()).Verify(t.Context(), forge(canary, header(), claims(set("rooms", object{
		"*": []string{"join"}, "chat-*": []string{"publish", "of-a-later-version"}, "chat-1": []string{"moderate"}, "x": []string{},
	}))))
	require.NoError(t, err)
	require.True(t, p.NamesRooms)
	require.Equal(t, Join, p.Rooms.In("other"))
	require.Equal(t, Join|Publish, p.Rooms.In("chat-2"))
	require.Equal(t, Join|Publish|Moderate, p.Rooms.In("chat-1"))
	require.Equal(t, Join, p.Rooms.In("x"))
	require.Equal(t, Join|Publish|Moderate, p.Rooms.Any())

	p, err = verifier(t, config()).Verify(t.Context(), forge(canary, header(), claims(set("rooms", []string{"a", "b-*"}))))
	require.NoError(t, err)
	require.Equal(t, Ordinary, p.Rooms.In("a"))
	require.Equal(t, Ordinary, p.Rooms.In("b-1"))
	require.Zero(t, p.Rooms.In("c"))
	require.False(t, p.Rooms.May(Moderate, "a"))

	p, err = verifier(t, config()).Verify(t.Context(), forge(canary, header(), claims()))
	require.NoError(t, err)
	require.False(t, p.NamesRooms)
	require.True(t, p.Rooms.Empty())
}

func TestTooManyPatternsAreRefused(t *testing.T) {
	t.Parallel()
	rooms := make([]string, MaxPatterns+1)
	for i := range rooms {
		rooms[i] = "a*"
	}
	require.Equal(t, ReasonClaims, refusal(t, verifier(t, config()), forge(canary, header(), claims(set("rooms", rooms)))))
	_, err := verifier(t, config()).Verify(t.Context(), forge(canary, header(), claims(set("rooms", rooms[1:]))))
	require.NoError(t, err)
	require.Equal(t, ReasonClaims, refusal(t, verifier(t, config()), forge(canary, header(), claims(set("rooms", []string{strings.Repeat("a", MaxPatternBytes+1)})))))
}

func TestGrantsAsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Grant{
		"*":                       {"*", Ordinary},
		"chat-*=join,publish":     {"chat-*", Join | Publish},
		"room-1=join, moderate":   {"room-1", Join | Moderate},
		"a=join,publish,presence": {"a", Join | Publish | Presence},
	} {
		g, err := ParseGrant(text)
		require.NoError(t, err)
		require.Equal(t, want, g)
		signed, err := Sign(secret, Claims{
			Subject: "ada", Issuer: "https://issuer.example", Audience: "parley", Rooms: []Grant{g}, IssuedAt: now, ExpiresAt: now.Add(time.Hour),
		})
		require.NoError(t, err)
		p, err := verifier(t, config()).Verify(t.Context(), signed)
		require.NoError(t, err)
		require.Equal(t, want.May, p.Rooms.Any())
	}
	for text, want := range map[string]string{
		"":             "a pattern has 1 to 128 characters",
		"a b":          "letters, digits and",
		"a=":           `capability "" is none of join, publish, history, presence, moderate`,
		"a=read":       `capability "read" is none of`,
		"*********":    "at most 8 stars",
		"a=join,,join": `capability "" is none of`,
	} {
		_, err := ParseGrant(text)
		require.ErrorContains(t, err, want, "%q", text)
	}
}

// A pattern matches what the regular expression matches that it is short for.
func FuzzPattern(f *testing.F) {
	f.Add("a*b", "axb")
	f.Add("**", "")
	f.Add("*a*aa*", "aaa")
	f.Fuzz(func(t *testing.T, text, room string) {
		g, err := NewGrants([]Grant{{text, Join}})
		if err != nil {
			return
		}
		expression := "^" + strings.ReplaceAll(regexp.QuoteMeta(text), `\*`, `(?s:.*)`) + `\z`
		require.Equal(t, regexp.MustCompile(expression).MatchString(room), g.May(Join, room))
	})
}
