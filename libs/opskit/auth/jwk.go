package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
)

// Limits of a set of keys.
const (
	maxKeys    = 256
	maxKeyID   = 256
	minRSABits = 2048
	maxRSABits = 8192
)

// publicKey is one key of an issuer and the algorithms that go with it.
type publicKey struct {
	key        crypto.PublicKey
	algorithms []string
}

// keySet is the keys of an issuer by their ids. It is never changed.
type keySet map[string][]publicKey

// find returns the key that a token is to be checked with; nil: there is none. A token that names no key is checked with the only
// one of its algorithm, if there is just one.
func (s keySet) find(id, algorithm string) crypto.PublicKey {
	if id != "" {
		for _, k := range s[id] {
			if slices.Contains(k.algorithms, algorithm) {
				return k.key
			}
		}
		return nil
	}
	var found crypto.PublicKey
	for _, keys := range s {
		for _, k := range keys {
			if !slices.Contains(k.algorithms, algorithm) {
				continue
			}
			if found != nil {
				return nil
			}
			found = k.key
		}
	}
	return found
}

func (s keySet) size() int {
	n := 0
	for _, keys := range s {
		n += len(keys)
	}
	return n
}

// jwk is a key as RFC 7517 and 7518 write it.
type jwk struct {
	Type       string   `json:"kty"`
	ID         string   `json:"kid"`
	Use        string   `json:"use"`
	Operations []string `json:"key_ops"`
	Algorithm  string   `json:"alg"`
	Curve      string   `json:"crv"`
	N          string   `json:"n"`
	E          string   `json:"e"`
	X          string   `json:"x"`
	Y          string   `json:"y"`
}

var (
	errKeySet = errors.New("is no set of keys")
	errNoKeys = errors.New("has no key that signatures can be checked with")
)

// parseKeySet reads a set of keys. Keys that are for something else, or of a kind that is not used here, are passed over; a set
// without any other is an error.
func parseKeySet(text []byte) (keySet, error) {
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &doc); err != nil || len(doc.Keys) > maxKeys {
		return nil, errKeySet
	}
	set := keySet{}
	for _, raw := range doc.Keys {
		var k jwk
		if err := json.Unmarshal(raw, &k); err != nil || len(k.ID) > maxKeyID {
			continue
		}
		if parsed, ok := k.parse(); ok {
			set[k.ID] = append(set[k.ID], parsed)
		}
	}
	if len(set) == 0 {
		return nil, errNoKeys
	}
	return set, nil
}

func (k jwk) parse() (publicKey, bool) {
	if k.Use != "" && k.Use != "sig" || len(k.Operations) > 0 && !slices.Contains(k.Operations, "verify") {
		return publicKey{}, false
	}
	var p publicKey
	switch {
	case k.Type == "RSA":
		p = publicKey{k.rsa(), []string{"RS256", "PS256"}}
	case k.Type == "EC" && k.Curve == "P-256":
		p = publicKey{k.ecdsa(elliptic.P256()), []string{"ES256"}}
	case k.Type == "EC" && k.Curve == "P-384":
		p = publicKey{k.ecdsa(elliptic.P384()), []string{"ES384"}}
	case k.Type == "OKP" && k.Curve == "Ed25519":
		p = publicKey{k.ed25519(), []string{"EdDSA"}}
	}
	if k.Algorithm != "" {
		p.algorithms = slices.DeleteFunc(p.algorithms, func(a string) bool { return a != k.Algorithm })
	}
	return p, p.key != nil && len(p.algorithms) > 0
}

func number(text string, most int) []byte {
	if len(text) > base64.RawURLEncoding.EncodedLen(most) {
		return nil
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil
	}
	return b
}

func (k jwk) rsa() crypto.PublicKey {
	n, e := new(big.Int).SetBytes(number(k.N, maxRSABits/8+1)), new(big.Int).SetBytes(number(k.E, 4))
	if n.BitLen() < minRSABits || n.BitLen() > maxRSABits || n.Bit(0) == 0 || e.BitLen() < 2 || e.BitLen() > 31 || e.Bit(0) == 0 {
		return nil
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}
}

func (k jwk) ecdsa(curve elliptic.Curve) crypto.PublicKey {
	size := (curve.Params().BitSize + 7) / 8
	x, y := number(k.X, size), number(k.Y, size)
	if len(x) != size || len(y) != size {
		return nil
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, append(append([]byte{4}, x...), y...))
	if err != nil { // not on the curve
		return nil
	}
	return key
}

func (k jwk) ed25519() crypto.PublicKey {
	x := number(k.X, ed25519.PublicKeySize)
	if len(x) != ed25519.PublicKeySize {
		return nil
	}
	return ed25519.PublicKey(x)
}
