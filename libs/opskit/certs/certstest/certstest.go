// Package certstest makes authorities and certificates of servers for tests.
package certstest

import (
	"crypto"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/opskit/certs/authority"
)

// CA signs certificates.
type CA struct {
	*authority.Authority
	t testing.TB
}

// NewCA makes an authority.
func NewCA(t testing.TB) *CA {
	t.Helper()
	a, err := authority.New()
	require.NoError(t, err)
	return &CA{a, t}
}

// Issue makes a certificate for this machine's loopback addresses, with that serial number, as PEM.
func (ca *CA) Issue(serial int64) (cert, key []byte) {
	ca.t.Helper()
	private, err := authority.NewKey()
	require.NoError(ca.t, err)
	return ca.IssueFor(serial, private)
}

// IssueFor is Issue for a given key.
func (ca *CA) IssueFor(serial int64, private crypto.Signer) (cert, key []byte) {
	ca.t.Helper()
	cert, key, err := ca.Authority.Issue(serial, private)
	require.NoError(ca.t, err)
	return cert, key
}
