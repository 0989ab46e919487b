package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/opskit"
)

// canary is in every secret and token of these tests, and must never be in what is shown.
const canary = "canary-canary-canary-canary-canary"

var (
	now    = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	secret = opskit.NewSecret(canary)
)

func clock() time.Time { return now }

func config() Config {
	return Config{Mode: ModeJWT, HMACSecret: secret, Issuer: "https://issuer.example", Audience: "parley"}
}

func keysAt(url string) Config {
	return Config{Mode: ModeJWT, JWKSURL: url, Issuer: "https://issuer.example", Audience: "parley"}
}

func verifier(t testing.TB, cfg Config) *Verifier {
	t.Helper()
	v, err := NewVerifier(cfg, Deps{Now: clock})
	require.NoError(t, err)
	return v
}

func segment(v any) string {
	text, isText := v.(string)
	if !isText {
		encoded, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		text = string(encoded)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

// forge signs whatever it is given, as an attacker who has the key could and a library would not. Header and claims are
// encoded as JSON unless they are strings.
func forge(key string, header, claims any) string {
	signed := segment(header) + "." + segment(claims)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

type object = map[string]any

func header(edit ...func(object)) object {
	h := object{"alg": "HS256", "typ": "JWT"}
	for _, e := range edit {
		e(h)
	}
	return h
}

func claims(edit ...func(object)) object {
	c := object{
		"sub": "ops-" + canary, "iss": "https://issuer.example", "aud": "parley", "scope": "read parley:admin",
		"exp": now.Add(time.Hour).Unix(), "iat": now.Unix(),
	}
	for _, e := range edit {
		e(c)
	}
	return c
}

func set(name string, value any) func(object) { return func(o object) { o[name] = value } }
func without(name string) func(object)        { return func(o object) { delete(o, name) } }

func TestVerifyAcceptsAndTellsWho(t *testing.T) {
	t.Parallel()
	for name, token := range map[string]string{
		"forged by hand":          forge(canary, header(), claims()),
		"several audiences":       forge(canary, header(), claims(set("aud", []string{"other", "parley"}))),
		"expired within the skew": forge(canary, header(), claims(set("exp", now.Add(-29*time.Second).Unix()))),
		"begins within the skew":  forge(canary, header(), claims(set("nbf", now.Add(29*time.Second).Unix()))),
		"fractions of a second":   forge(canary, header(), claims(set("exp", float64(now.Unix())+0.5))),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := verifier(t, config()).Verify(t.Context(), token)
			require.NoError(t, err)
			require.Equal(t, "ops-"+canary, p.Subject)
			require.True(t, p.Has(ScopeAdmin))
			require.False(t, p.Has("admin"))
		})
	}
}

func TestSignedTokensVerify(t *testing.T) {
	t.Parallel()
	token, err := Sign(secret, Claims{
		Subject: "ada", Issuer: "https://issuer.example", Audience: "parley", Scopes: []string{"a", ScopeAdmin},
		IssuedAt: now, ExpiresAt: now.Add(90 * time.Minute),
	})
	require.NoError(t, err)
	p, err := verifier(t, config()).Verify(t.Context(), token)
	require.NoError(t, err)
	require.Equal(t, "ada", p.Subject)
	require.Equal(t, []string{"a", ScopeAdmin}, p.Scopes)
	require.True(t, p.ExpiresAt.Equal(now.Add(90*time.Minute)))

	bare, err := Sign(secret, Claims{Subject: "ada", IssuedAt: now, ExpiresAt: now.Add(time.Second)})
	require.NoError(t, err)
	p, err = verifier(t, Config{Mode: ModeJWT, HMACSecret: secret}).Verify(t.Context(), bare)
	require.NoError(t, err)
	require.Empty(t, p.Scopes)

	_, err = Sign(opskit.NewSecret("short"), Claims{Subject: "ada", IssuedAt: now, ExpiresAt: now.Add(time.Second)})
	require.ErrorIs(t, err, ErrSecret)
	_, err = Sign(secret, Claims{IssuedAt: now, ExpiresAt: now.Add(time.Second)})
	require.Error(t, err)
	_, err = Sign(secret, Claims{Subject: "ada", IssuedAt: now, ExpiresAt: now})
	require.Error(t, err)
}

// The corpus of tokens that must not pass. Each is right but for what its name says.
func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	good := forge(canary, header(), claims())
	parts := strings.Split(good, ".")
	none := segment(header(set("alg", "none"))) + "." + segment(claims()) + "."
	tampered := segment(claims(set("sub", "root")))
	other := map[bool]string{true: "B", false: "A"}[parts[2][0] == 'A'] + parts[2][1:]
	for _, c := range []struct {
		name   string
		token  string
		reason Reason
	}{
		{"nothing", "", ReasonMissing},
		{"no token at all", "hello", ReasonMalformed},
		{"two parts", parts[0] + "." + parts[1], ReasonMalformed},
		{"four parts", good + ".x", ReasonMalformed},
		{"padding", good + "=", ReasonMalformed},
		{"not base64", parts[0] + "." + parts[1] + ".***", ReasonMalformed},
		{"header is not JSON", forge(canary, "{", claims()), ReasonMalformed},
		{"claims are not JSON", forge(canary, header(), "{"), ReasonMalformed},
		{"claims are null", forge(canary, header(), "null"), ReasonClaims},
		{"too long", forge(canary, header(), claims(set("x", strings.Repeat("x", MaxTokenBytes)))), ReasonMalformed},
		{"alg none", none, ReasonAlgorithm},
		{"alg none with a signature", forge(canary, header(set("alg", "none")), claims()), ReasonAlgorithm},
		{"alg None", forge(canary, header(set("alg", "None")), claims()), ReasonAlgorithm},
		{"alg HS384", forge(canary, header(set("alg", "HS384")), claims()), ReasonAlgorithm},
		{"alg HS512", forge(canary, header(set("alg", "HS512")), claims()), ReasonAlgorithm},
		{"alg RS256: the secret as a public key", forge(canary, header(set("alg", "RS256")), claims()), ReasonAlgorithm},
		{"alg in small letters", forge(canary, header(set("alg", "hs256")), claims()), ReasonAlgorithm},
		{"alg is a number", forge(canary, header(set("alg", 256)), claims()), ReasonAlgorithm},
		{"no alg", forge(canary, header(without("alg")), claims()), ReasonAlgorithm},
		{"critical header", forge(canary, header(set("crit", []string{"b64"})), claims()), ReasonMalformed},
		{"another key", forge(strings.ToUpper(canary), header(), claims()), ReasonSignature},
		{"empty key", forge("", header(), claims()), ReasonSignature},
		{"a key of its own in the header", forge("attacker", header(set("jwk", object{"kty": "oct", "k": "YXR0YWNrZXI"})), claims()), ReasonSignature},
		{"claims changed", parts[0] + "." + tampered + "." + parts[2], ReasonSignature},
		{"signature changed", parts[0] + "." + parts[1] + "." + other, ReasonSignature},
		{"another spelling of the signature", good[:len(good)-1] + respell(good[len(good)-1]), ReasonMalformed},
		{"no signature", parts[0] + "." + parts[1] + ".", ReasonSignature},
		{"expired", forge(canary, header(), claims(set("exp", now.Add(-30*time.Second).Unix()))), ReasonExpired},
		{"no exp", forge(canary, header(), claims(without("exp"))), ReasonClaims},
		{"exp is text", forge(canary, header(), claims(set("exp", "never"))), ReasonClaims},
		{"exp is null", forge(canary, header(), claims(set("exp", nil))), ReasonClaims},
		{"not yet valid", forge(canary, header(), claims(set("nbf", now.Add(31*time.Second).Unix()))), ReasonNotYetValid},
		{"nbf is text", forge(canary, header(), claims(set("nbf", "tomorrow"))), ReasonClaims},
		{"another issuer", forge(canary, header(), claims(set("iss", "https://issuer.example.evil"))), ReasonIssuer},
		{"no issuer", forge(canary, header(), claims(without("iss"))), ReasonClaims},
		{"another audience", forge(canary, header(), claims(set("aud", []string{"a", "b"}))), ReasonAudience},
		{"no audience", forge(canary, header(), claims(without("aud"))), ReasonClaims},
		{"aud is a number", forge(canary, header(), claims(set("aud", 1))), ReasonClaims},
		{"sub is a number", forge(canary, header(), claims(set("sub", 1))), ReasonClaims},
		{"scope is a list", forge(canary, header(), claims(set("scope", []string{ScopeAdmin}))), ReasonClaims},
		{"exp beyond all times", forge(canary, header(), claims(set("exp", 1e12))), ReasonClaims},
		{"exp beyond all numbers", forge(canary, header(), claims(set("exp", 1e300))), ReasonExpired},
		{"exp before all times", forge(canary, header(), claims(set("exp", -1e18))), ReasonExpired},
		{"rooms is text", forge(canary, header(), claims(set("rooms", "*"))), ReasonClaims},
		{"rooms is null", forge(canary, header(), claims(set("rooms", nil))), ReasonClaims},
		{"rooms of numbers", forge(canary, header(), claims(set("rooms", []int{1}))), ReasonClaims},
		{"rooms with text for a list", forge(canary, header(), claims(set("rooms", object{"*": "join"}))), ReasonClaims},
		{"rooms with a number for a capability", forge(canary, header(), claims(set("rooms", object{"*": []int{1}}))), ReasonClaims},
		{"rooms with a character that no room has", forge(canary, header(), claims(set("rooms", []string{"a/b"}))), ReasonClaims},
		{"rooms with too many stars", forge(canary, header(), claims(set("rooms", []string{"*********"}))), ReasonClaims},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, err := verifier(t, config()).Verify(t.Context(), c.token)
			var refused *RefusedError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, c.reason, refused.Reason)
			require.Zero(t, p)
			for _, verb := range []string{"%v", "%+v", "%#v"} {
				require.NotContains(t, fmt.Sprintf(verb, err), canary)
			}
		})
	}
}

// respell gives another last character that stands for the same bytes to a lenient decoder: two of its bits are padding.
func respell(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, c)|1])
}

func TestScopesAreWholeWords(t *testing.T) {
	t.Parallel()
	for scope, admin := range map[string]bool{
		"parley:admin":         true,
		"a\tparley:admin\nb":   true,
		"":                     false,
		"parley:administrator": false,
		"xparley:admin":        false,
		"parley:admin,b":       false,
		"PARLEY:ADMIN":         false,
	} {
		p, err := verifier(t, config()).Verify(t.Context(), forge(canary, header(), claims(set("scope", scope))))
		require.NoError(t, err)
		require.Equal(t, admin, p.Has(ScopeAdmin), "%q", scope)
	}
}

func TestBearer(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"Bearer abc":     "abc",
		"bearer abc":     "abc",
		"BEARER  abc ":   "abc",
		"Bearer":         "",
		"Bearer ":        "",
		"":               "",
		"Basic abc":      "",
		"Bearerabc":      "",
		"abc":            "",
		" Bearer abc":    "",
		"Bearer\tabc":    "",
		"Bearer abc def": "abc def", // not a token: Verify says so
	} {
		token, ok := Bearer(header)
		require.Equal(t, want != "", ok, "%q", header)
		if ok {
			require.Equal(t, want, token, "%q", header)
		}
	}
}

func TestConfigTellsEveryProblem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		cfg  Config
		want []string
	}{
		{"jwt", config(), nil},
		{"none", Config{Mode: ModeNone}, nil},
		{"nothing", Config{}, []string{"PARLEY_AUTH_MODE: is not set"}},
		{"unknown", Config{Mode: "basic"}, []string{`PARLEY_AUTH_MODE: "basic" is not known`}},
		{"no secret", Config{Mode: ModeJWT}, []string{"PARLEY_AUTH_HMAC_SECRET: has 0 bytes"}},
		{"short secret", Config{Mode: ModeJWT, HMACSecret: opskit.NewSecret(canary[:31])}, []string{"has 31 bytes, mode jwt needs at least 32"}},
		{"secret without use", Config{Mode: ModeNone, HMACSecret: secret}, []string{"leave those out"}},
		{"short previous secret", Config{Mode: ModeJWT, HMACSecret: secret, HMACPrevious: opskit.NewSecret("short")}, []string{"PARLEY_AUTH_HMAC_PREVIOUS_SECRET: has 5 bytes"}},
		{"keys", keysAt("https://issuer.example/keys"), nil},
		{"keys of this machine", keysAt("http://127.0.0.1:8080/keys"), nil},
		{"keys in the clear", keysAt("http://issuer.example/keys"), []string{"PARLEY_AUTH_JWKS_URL: is plain http to another machine"}},
		{"keys in a file", keysAt("file:///" + canary), []string{"PARLEY_AUTH_JWKS_URL: is not an address"}},
		{"keys by another scheme", keysAt("ftp://host/" + canary), []string{`has the scheme "ftp": use https`}},
		{"keys with a password", keysAt("https://me:" + canary + "@issuer.example/"), []string{"has a password in it"}},
		{"no address of keys", keysAt("://" + canary), []string{"is not an address"}},
		{"keys for everybody", Config{Mode: ModeJWT, JWKSURL: "https://issuer.example/keys"}, []string{"PARLEY_AUTH_ISSUER: is not set", "PARLEY_AUTH_AUDIENCE: is not set"}},
		{"keys too old before they are fetched again", Config{Mode: ModeJWT, HMACSecret: secret, JWKSRefresh: time.Hour, JWKSMaxAge: time.Minute}, []string{"PARLEY_AUTH_JWKS_MAX_AGE: 1m0s is less than"}},
		{"keys too often", Config{Mode: ModeJWT, HMACSecret: secret, JWKSRefresh: time.Second}, []string{"PARLEY_AUTH_JWKS_REFRESH: 1s would ask the issuer too often"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := c.cfg.Check()
			if c.want == nil {
				require.NoError(t, err)
				return
			}
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
			require.NotContains(t, err.Error(), canary[:8])
			_, err = NewVerifier(c.cfg, Deps{Now: clock})
			require.Error(t, err)
		})
	}
	_, err := NewVerifier(Config{Mode: ModeNone}, Deps{})
	require.Error(t, err)
}

// Whatever the bytes, a token that was not signed with the secret is refused, and nothing panics.
func FuzzVerify(f *testing.F) {
	f.Add(forge(canary, header(), claims()))
	f.Add(forge("x", header(set("alg", "none")), claims()))
	f.Add("a.b.c")
	v, err := NewVerifier(Config{Mode: ModeJWT, HMACSecret: opskit.NewSecret("nobody knows this secret of the fuzz test")}, Deps{Now: clock})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, token string) {
		_, err := v.Verify(t.Context(), token)
		var refused *RefusedError
		require.ErrorAs(t, err, &refused)
	})
}

// Whatever is signed, as by an issuer that went mad: nothing panics, and what is let in is let in for a reason.
func FuzzSignedClaims(f *testing.F) {
	f.Add(`{"alg":"HS256"}`, fmt.Sprintf(`{"sub":"ada","iss":"https://issuer.example","aud":["parley"],"exp":%d,"rooms":{"chat-*":["join"]}}`, now.Unix()+60))
	f.Add(`{"alg":"HS256","kid":"1","typ":"JWT"}`, `{"aud":"parley","exp":1e18,"nbf":-1,"rooms":["*"],"scope":"a b"}`)
	f.Add(`{"alg":"none"}`, `{}`)
	v, err := NewVerifier(config(), Deps{Now: clock})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, header, claims string) {
		p, err := v.Verify(t.Context(), forge(canary, header, claims))
		if err != nil {
			var refused *RefusedError
			require.ErrorAs(t, err, &refused)
			require.Zero(t, p)
			return
		}
		require.True(t, p.ExpiresAt.After(now.Add(-ClockSkew)))
		var c map[string]any
		require.NoError(t, json.Unmarshal([]byte(claims), &c))
		require.Equal(t, "https://issuer.example", c["iss"])
		require.LessOrEqual(t, len(p.Rooms.exact)+len(p.Rooms.patterns), MaxPatterns)
		require.Zero(t, p.Rooms.Any()&^(Ordinary|Moderate))
	})
}
