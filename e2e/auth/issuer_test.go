package auth

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	issuerName = "https://issuer.example"
	audience   = "parley-e2e"
	// canary is in every token and every message, and must be in no log, metric or trace.
	canary = "canary-4f1c9a"
)

// issuer is one that members have in common with others: it publishes its keys, and changes them.
type issuer struct {
	t      *testing.T
	server *httptest.Server

	mu     sync.Mutex
	number int
	key    ed25519.PrivateKey
	public []map[string]any
	tokens []string // all that were made
}

func startIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{t: t}
	i.rotate()
	i.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": i.public})
	}))
	t.Cleanup(i.server.Close)
	return i
}

// rotate signs with a new key from now on; the old ones stay published.
func (i *issuer) rotate() {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(i.t, err)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.number++
	i.key = private
	i.public = append(i.public, map[string]any{
		"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": fmt.Sprint(i.number), "x": base64.RawURLEncoding.EncodeToString(public),
	})
}

type claims map[string]any

// token signs one that lives that long.
func (i *issuer) token(subject string, lives time.Duration, more claims) string {
	c := claims{
		"sub": subject, "iss": issuerName, "aud": audience, "iat": time.Now().Unix(), "exp": time.Now().Add(lives).Unix(), "note": canary,
	}
	for name, value := range more {
		c[name] = value
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	text := segment(i.t, claims{"alg": "EdDSA", "typ": "JWT", "kid": fmt.Sprint(i.number)}) + "." + segment(i.t, c)
	token := text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(i.key, []byte(text)))
	i.tokens = append(i.tokens, token)
	return token
}

func segment(t *testing.T, c claims) string {
	t.Helper()
	text, err := json.Marshal(c)
	require.NoError(t, err)
	return base64.RawURLEncoding.EncodeToString(text)
}
