package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
)

// issuerServer is an issuer whose keys and manners a test sets.
type issuerServer struct {
	*httptest.Server
	mu     sync.Mutex
	keys   []object
	answer func(http.ResponseWriter) // nil: the keys
	asked  int
	news   chan struct{} // closed and made anew at each request
}

func startIssuer(t testing.TB, keys ...object) *issuerServer {
	t.Helper()
	s := &issuerServer{keys: keys, news: make(chan struct{})}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked++
		close(s.news)
		s.news = make(chan struct{})
		if s.answer != nil {
			s.answer(w)
			return
		}
		_ = json.NewEncoder(w).Encode(object{"keys": s.keys})
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *issuerServer) set(answer func(http.ResponseWriter), keys ...object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer, s.keys = answer, keys
}

func (s *issuerServer) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// fetching returns a running verifier of the server's keys.
func fetching(t testing.TB, s *issuerServer) *Verifier {
	t.Helper()
	v := verifier(t, keysAt(s.URL))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); v.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return v
}

// pause lets the pause between two fetches pass.
func pass(v *Verifier) {
	v.issuer.mu.Lock()
	defer v.issuer.mu.Unlock()
	v.issuer.began = v.issuer.began.Add(-fetchPause)
	v.issuer.fetched = v.issuer.fetched.Add(-fetchPause)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func sign(t testing.TB, method jwt.SigningMethod, id string, key any, edit ...func(object)) string {
	t.Helper()
	token := jwt.NewWithClaims(method, jwt.MapClaims(claims(edit...)))
	if id != "" {
		token.Header["kid"] = id
	}
	text, err := token.SignedString(key)
	require.NoError(t, err)
	return text
}

type keyPair struct {
	private crypto.Signer
	public  object
	methods []jwt.SigningMethod
}

func edKey(t testing.TB, id string) keyPair {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return keyPair{private, object{"kty": "OKP", "crv": "Ed25519", "kid": id, "x": b64(public)}, []jwt.SigningMethod{jwt.SigningMethodEdDSA}}
}

func ecKey(t testing.TB, id string, curve elliptic.Curve, method jwt.SigningMethod) keyPair {
	t.Helper()
	private, err := ecdsa.GenerateKey(curve, rand.Reader)
	require.NoError(t, err)
	point, err := private.PublicKey.Bytes()
	require.NoError(t, err)
	size := (len(point) - 1) / 2
	return keyPair{private, object{
		"kty": "EC", "crv": curve.Params().Name, "kid": id, "use": "sig", "x": b64(point[1 : 1+size]), "y": b64(point[1+size:]),
	}, []jwt.SigningMethod{method}}
}

var rsaOnce = sync.OnceValue(func() *rsa.PrivateKey {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return private
})

func rsaKey(id string) keyPair {
	private := rsaOnce()
	return keyPair{private, object{
		"kty": "RSA", "kid": id, "n": b64(private.N.Bytes()), "e": b64(big.NewInt(int64(private.E)).Bytes()),
	}, []jwt.SigningMethod{jwt.SigningMethodRS256, jwt.SigningMethodPS256}}
}

func refusal(t testing.TB, v *Verifier, token string) Reason {
	t.Helper()
	_, err := v.Verify(t.Context(), token)
	var refused *RefusedError
	require.ErrorAs(t, err, &refused)
	require.NotContains(t, err.Error(), canary)
	return refused.Reason
}

func TestFetchedKeysVerify(t *testing.T) {
	t.Parallel()
	pairs := []keyPair{
		rsaKey("rsa"), ecKey(t, "p256", elliptic.P256(), jwt.SigningMethodES256),
		ecKey(t, "p384", elliptic.P384(), jwt.SigningMethodES384), edKey(t, "ed"),
	}
	var public []object
	for _, p := range pairs {
		public = append(public, p.public)
	}
	// What else issuers publish is passed over.
	public = append(public, object{"kty": "oct", "kid": "oct", "k": b64([]byte(canary))}, object{"kty": "EC", "crv": "P-521", "kid": "x"},
		object{"kty": 7}, object{"kty": "RSA", "kid": "enc", "use": "enc", "n": pairs[0].public["n"], "e": "AQAB"})
	v := fetching(t, startIssuer(t, public...))
	for _, p := range pairs {
		for _, method := range p.methods {
			who, err := v.Verify(t.Context(), sign(t, method, p.public["kid"].(string), p.private)) //nolint:forcetypeassert // above
			require.NoError(t, err, method.Alg())
			require.Equal(t, "ops-"+canary, who.Subject)
			if method != jwt.SigningMethodRS256 && method != jwt.SigningMethodPS256 {
				_, err = v.Verify(t.Context(), sign(t, method, "", p.private))
				require.NoError(t, err, "the only key of %s need not be named", method.Alg())
			}
		}
	}
	require.NoError(t, v.Ready(t.Context()))
	rs := pairs[0]
	require.Equal(t, ReasonExpired, refusal(t, v, sign(t, jwt.SigningMethodRS256, "rsa", rs.private, set("exp", now.Add(-time.Minute).Unix()))))
	require.Equal(t, ReasonAudience, refusal(t, v, sign(t, jwt.SigningMethodRS256, "rsa", rs.private, set("aud", "another"))))
	require.Equal(t, ReasonIssuer, refusal(t, v, sign(t, jwt.SigningMethodRS256, "rsa", rs.private, set("iss", "another"))))
	require.Equal(t, ReasonSignature, refusal(t, v, sign(t, jwt.SigningMethodEdDSA, "ed", edKey(t, "").private)))
}

// The algorithm follows from the key: a token that says otherwise is refused, whatever its signature is worth.
func TestAlgorithmsBelongToKeys(t *testing.T) {
	t.Parallel()
	rs, es := rsaKey("rsa"), ecKey(t, "ec", elliptic.P256(), jwt.SigningMethodES256)
	only := rsaKey("only")
	only.public["alg"] = "PS256"
	v := fetching(t, startIssuer(t, rs.public, es.public, only.public))
	_, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodRS256, "rsa", rs.private))
	require.NoError(t, err)
	// The public key, which everybody has, as a secret of HS256.
	for _, key := range []string{rs.public["n"].(string), string(rs.private.(*rsa.PrivateKey).N.Bytes())} { //nolint:forcetypeassert // above
		require.Equal(t, ReasonAlgorithm, refusal(t, v, forge(key, header(set("kid", "rsa")), claims())))
		require.Equal(t, ReasonSignature, refusal(t, v, forge(key, header(set("kid", "rsa"), set("alg", "RS256")), claims())))
	}
	require.Equal(t, ReasonAlgorithm, refusal(t, v, segment(object{"alg": "none", "kid": "rsa"})+"."+segment(claims())+"."))
	require.Equal(t, ReasonAlgorithm, refusal(t, v, sign(t, jwt.SigningMethodRS512, "rsa", rs.private)))
	pass(v)
	require.Equal(t, ReasonKey, refusal(t, v, sign(t, jwt.SigningMethodRS256, "ec", rs.private)), "a key of another kind")
	pass(v)
	require.Equal(t, ReasonKey, refusal(t, v, sign(t, jwt.SigningMethodRS256, "only", only.private)), "a key for PS256 only")
	_, err = v.Verify(t.Context(), sign(t, jwt.SigningMethodPS256, "only", only.private))
	require.NoError(t, err)
	pass(v)
	require.Equal(t, ReasonKey, refusal(t, v, sign(t, jwt.SigningMethodPS256, "", rs.private)), "which of the two?")
}

func TestRotation(t *testing.T) {
	t.Parallel()
	old, next := edKey(t, "1"), edKey(t, "2")
	s := startIssuer(t, old.public)
	v := fetching(t, s)
	tokenOld, tokenNew := sign(t, jwt.SigningMethodEdDSA, "1", old.private), sign(t, jwt.SigningMethodEdDSA, "2", next.private)
	_, err := v.Verify(t.Context(), tokenOld)
	require.NoError(t, err)

	// Key ids that are made up do not have the issuer asked more often; who shows one is told to come again.
	for range 1000 {
		_, err = v.Verify(t.Context(), tokenNew)
		require.ErrorIs(t, err, ErrKeys)
	}
	require.Equal(t, 1, s.requests())

	// A key that is not known is asked for at once when that is due; all who show it wait for one fetch.
	s.set(nil, old.public, next.public)
	pass(v)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			_, err := v.Verify(t.Context(), tokenNew)
			require.NoError(t, err)
		})
	}
	wg.Wait()
	require.Equal(t, 2, s.requests())

	// The old key is gone once it was seen to be.
	s.set(nil, next.public)
	pass(v)
	require.Equal(t, ReasonKey, refusal(t, v, sign(t, jwt.SigningMethodEdDSA, "3", old.private)))
	require.Equal(t, 3, s.requests())
	_, err = v.Verify(t.Context(), tokenNew)
	require.NoError(t, err)
	pass(v)
	require.Equal(t, ReasonKey, refusal(t, v, tokenOld))
}

// While the issuer is away, or answers nonsense, the last good keys stay in use, and a token with another key is not called bad.
func TestLastGoodKeysStay(t *testing.T) {
	t.Parallel()
	known := edKey(t, "1")
	good, unknown := sign(t, jwt.SigningMethodEdDSA, "1", known.private), sign(t, jwt.SigningMethodEdDSA, "2", known.private)
	for name, answer := range map[string]func(http.ResponseWriter){
		"error":    func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) },
		"nonsense": func(w http.ResponseWriter) { _, _ = w.Write([]byte("<html>")) },
		"nothing":  func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"cut":      func(w http.ResponseWriter) { w.Header().Set("Content-Length", "100"); _, _ = w.Write([]byte(`{"keys`)) },
		"endless":  func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, maxKeySetBytes+1)) },
		"redirected": func(w http.ResponseWriter) {
			w.Header().Set("Location", "http://example.com/")
			w.WriteHeader(http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startIssuer(t, known.public)
			v := fetching(t, s)
			_, err := v.Verify(t.Context(), good)
			require.NoError(t, err)
			s.set(answer)
			pass(v)
			_, err = v.Verify(t.Context(), unknown)
			require.ErrorIs(t, err, ErrKeys)
			require.GreaterOrEqual(t, s.requests(), 2)
			_, err = v.Verify(t.Context(), good)
			require.NoError(t, err)
			require.NoError(t, v.Ready(t.Context()))
		})
	}
}

// Keys are not used for ever without their issuer: it may have withdrawn them. Once it is back they are as good as new.
func TestIssuerThatStaysAway(t *testing.T) {
	t.Parallel()
	key := edKey(t, "1")
	s := startIssuer(t, key.public)
	v := fetching(t, s)
	token := sign(t, jwt.SigningMethodEdDSA, "1", key.private)
	older := func(by time.Duration) {
		v.issuer.mu.Lock()
		defer v.issuer.mu.Unlock()
		v.issuer.fetched = v.issuer.fetched.Add(-by)
	}
	_, err := v.Verify(t.Context(), token)
	require.NoError(t, err)
	s.set(func(http.ResponseWriter) { panic(http.ErrAbortHandler) }) // the connection is cut
	older(standardMaxAge - time.Hour)
	pass(v)
	_, err = v.Verify(t.Context(), token)
	require.NoError(t, err)
	require.NoError(t, v.Ready(t.Context()))

	older(time.Hour)
	_, err = v.Verify(t.Context(), token)
	require.ErrorIs(t, err, ErrKeys, "not that it is bad: that cannot be told")
	require.ErrorIs(t, v.Ready(t.Context()), ErrKeys)
	keys, age, ever := v.issuer.state()
	require.Zero(t, keys)
	require.True(t, ever)
	require.Greater(t, age, standardMaxAge)
	require.GreaterOrEqual(t, s.requests(), 2, "it was asked")

	s.set(nil, key.public)
	require.Eventually(t, func() bool { return v.Ready(t.Context()) == nil }, 20*time.Second, 10*time.Millisecond)
	_, err = v.Verify(t.Context(), token)
	require.NoError(t, err)
}

func TestIssuerThatWasNeverThere(t *testing.T) {
	t.Parallel()
	key := edKey(t, "1")
	s := startIssuer(t)
	v := fetching(t, s)
	token := sign(t, jwt.SigningMethodEdDSA, "1", key.private)
	_, err := v.Verify(t.Context(), token)
	require.ErrorIs(t, err, ErrKeys)
	require.ErrorIs(t, v.Ready(t.Context()), ErrKeys)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = v.Verify(ctx, token)
	require.ErrorIs(t, err, ErrKeys)
	// It is asked again without anybody's asking.
	s.set(nil, key.public)
	require.Eventually(t, func() bool { return v.Ready(t.Context()) == nil }, 20*time.Second, 10*time.Millisecond)
	_, err = v.Verify(t.Context(), token)
	require.NoError(t, err)
}

func TestSecretsAreRotated(t *testing.T) {
	t.Parallel()
	cfg := config()
	cfg.HMACPrevious = secretOf("the secret that was in use before, of 32 bytes at least")
	v := verifier(t, cfg)
	for _, key := range []string{canary, cfg.HMACPrevious.Reveal()} {
		_, err := v.Verify(t.Context(), forge(key, header(), claims()))
		require.NoError(t, err)
	}
	require.Equal(t, ReasonSignature, refusal(t, v, forge("the secret before that one, which nobody takes any more", header(), claims())))
	require.NoError(t, v.Ready(t.Context()))
	v.Run(t.Context()) // has nothing to do
}

// A secret and fetched keys beside each other: each only for its own algorithms.
func TestSecretBesideKeys(t *testing.T) {
	t.Parallel()
	key := edKey(t, "1")
	cfg := keysAt(startIssuer(t, key.public).URL)
	cfg.HMACSecret = secret
	v := verifier(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); v.Run(ctx) }()
	defer func() { cancel(); <-done }()
	_, err := v.Verify(t.Context(), forge(canary, header(), claims()))
	require.NoError(t, err)
	_, err = v.Verify(t.Context(), sign(t, jwt.SigningMethodEdDSA, "1", key.private))
	require.NoError(t, err)
	require.Equal(t, ReasonSignature, refusal(t, v, forge(string(key.private.(ed25519.PrivateKey).Public().(ed25519.PublicKey)), header(set("kid", "1")), claims()))) //nolint:forcetypeassert // above
}

func TestWeakKeysArePassedOver(t *testing.T) {
	t.Parallel()
	es := ecKey(t, "x", elliptic.P256(), jwt.SigningMethodES256).public
	off := object{"kty": "EC", "crv": "P-256", "x": es["x"], "y": es["x"]}
	small := object{"kty": "RSA", "n": b64(append([]byte{0x80}, make([]byte, 126)...)) + "AQ", "e": "AQAB"}
	even := object{"kty": "RSA", "n": b64(rsaOnce().N.Bytes()), "e": "AQAA"}
	huge := object{"kty": "RSA", "n": b64(make([]byte, 100<<10)), "e": "AQAB"}
	ed := object{"kty": "OKP", "crv": "Ed25519", "x": b64(make([]byte, 31))}
	other := object{"kty": "OKP", "crv": "X25519", "x": b64(make([]byte, 32))}
	ops := object{"kty": "OKP", "crv": "Ed25519", "x": b64(make([]byte, 32)), "key_ops": []string{"sign"}}
	for _, k := range []object{off, small, even, huge, ed, other, ops, {}} {
		text, err := json.Marshal(object{"keys": []object{k}})
		require.NoError(t, err)
		_, err = parseKeySet(text)
		require.ErrorIs(t, err, errNoKeys, "%s", text)
	}
	_, err := parseKeySet([]byte(`[]`))
	require.ErrorIs(t, err, errKeySet)
}

// Whatever an issuer answers, nothing panics, and every key that is taken is one that can be used.
func FuzzParseKeySet(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","e":"AQAB","n":"AQ"},{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := parseKeySet(text)
		if err != nil {
			require.True(t, errors.Is(err, errKeySet) || errors.Is(err, errNoKeys))
			return
		}
		require.Positive(t, keys.size())
		for _, list := range keys {
			for _, k := range list {
				require.NotEmpty(t, k.algorithms)
				// No signature is good: nobody has signed.
				for _, a := range k.algorithms {
					require.Error(t, jwt.GetSigningMethod(a).Verify("x.y", make([]byte, 64), k.key))
				}
			}
		}
	})
}

// Keys come over https from whom the system's or the given authorities vouch for, and from nobody else.
func TestKeysOverHTTPS(t *testing.T) {
	t.Parallel()
	key := edKey(t, "1")
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(object{"keys": []object{key.public}})
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo) // a handshake is refused below
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	token := sign(t, jwt.SigningMethodEdDSA, "1", key.private)
	for name, c := range map[string]struct {
		roots *x509.CertPool
		want  error
	}{"vouched for": {roots, nil}, "by nobody": {x509.NewCertPool(), ErrKeys}} {
		v, err := NewVerifier(keysAt(server.URL), Deps{Now: clock, RootCAs: c.roots})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { v.Run(ctx) })
		_, err = v.Verify(t.Context(), token)
		require.ErrorIs(t, err, c.want, name)
		cancel()
		running.Wait()
	}
}

// What a check costs, which every connection and renewal does once.
func BenchmarkVerify(b *testing.B) {
	rooms := set("rooms", object{"chat-*": []string{"join", "publish"}, "news": []string{"join"}})
	b.Run("HS256", func(b *testing.B) {
		v, token := verifier(b, config()), forge(canary, header(), claims(rooms))
		for b.Loop() {
			if _, err := v.Verify(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
	pairs := []keyPair{
		rsaKey("RS256"), ecKey(b, "ES256", elliptic.P256(), jwt.SigningMethodES256),
		ecKey(b, "ES384", elliptic.P384(), jwt.SigningMethodES384), edKey(b, "EdDSA"),
	}
	var public []object
	for _, p := range pairs {
		public = append(public, p.public)
	}
	v := fetching(b, startIssuer(b, public...))
	for _, p := range pairs {
		token := sign(b, p.methods[0], p.public["kid"].(string), p.private, rooms) //nolint:forcetypeassert // above
		b.Run(p.methods[0].Alg(), func(b *testing.B) {
			for b.Loop() {
				if _, err := v.Verify(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
