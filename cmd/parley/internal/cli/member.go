package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/parley-rt/parley/libs/opskit"
	parley "github.com/parley-rt/parley/sdk/go"
)

// memberFlags say who a client command speaks for, and how it speaks.
type memberFlags struct {
	Token     opskit.Secret `help:"Token of the member; better in the variable or in a file than here, where others can see it." placeholder:"TOKEN"`
	TokenFile string        `help:"File with that token, read again whenever one is needed." placeholder:"FILE" env:"-"`
	Binary    bool          `help:"Speak protobuf instead of JSON." env:"-"`
	CA        string        `name:"ca" help:"Certificate of the authority that signed the server's, if the system does not know it; PEM." placeholder:"FILE" env:"-"`
}

// Validate refuses what says two things at once.
func (f memberFlags) Validate() error {
	if !f.Token.Empty() && f.TokenFile != "" {
		return errors.New("--token-file: there is a token in --token or PARLEY_TOKEN too: keep one")
	}
	return nil
}

// getToken returns what the client asks for tokens; nil: it has none.
func (f memberFlags) getToken() func(context.Context) (string, error) {
	switch {
	case f.TokenFile != "":
		return func(context.Context) (string, error) {
			text, err := os.ReadFile(f.TokenFile)
			if err != nil {
				return "", fmt.Errorf("read token: %w", err)
			}
			return notExpired(strings.TrimSpace(string(text)))
		}
	case !f.Token.Empty():
		return func(context.Context) (string, error) {
			token, err := notExpired(f.Token.Reveal())
			if err != nil {
				return "", fmt.Errorf("%w: %w", parley.ErrNoToken, err) // there will be no other
			}
			return token, nil
		}
	default:
		return nil
	}
}

var errExpired = errors.New("the token has expired: get a new one")

// notExpired passes on a token that has not expired, as far as that can be seen from here: the server judges.
func notExpired(token string) (string, error) {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	var claims struct {
		ExpiresAt float64 `json:"exp"`
	}
	if text, err := base64.RawURLEncoding.DecodeString(payload); err == nil {
		_ = json.Unmarshal(text, &claims) // what cannot be read has no exp
	}
	if claims.ExpiresAt == 0 {
		return token, nil
	}
	if float64(time.Now().Unix()) >= claims.ExpiresAt {
		return "", errExpired
	}
	return token, nil
}

// httpClient returns the client that makes the handshake; nil: the standard one.
func (f memberFlags) httpClient() (*http.Client, error) {
	if f.CA == "" {
		return nil, nil
	}
	text, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("--ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--ca: %s has no certificate", f.CA)
	}
	return &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
	}}, nil
}
