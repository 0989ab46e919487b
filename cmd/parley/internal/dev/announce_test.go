package dev

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/cmd/parley/internal/journal"
	"github.com/parley-rt/parley/libs/opskit/certs"
)

func TestAnnounceShowsNoPassword(t *testing.T) {
	t.Parallel()
	at, err := journal.Locate("postgres://parley:canary@db1,db2/parley?sslpassword=canary", "")
	require.NoError(t, err)
	var out bytes.Buffer
	p := &process{journal: at, out: &out}
	require.NoError(t, p.announce(addresses{gateway: "0.0.0.0:8080", ops: "127.0.0.1:9090", api: "[::]:8081"}))
	require.Contains(t, out.String(), "journal        postgres://parley:xxxxx@db1,db2/parley?sslpassword=xxxxx\n")
	require.NotContains(t, out.String(), "canary")
	require.Contains(t, out.String(), "ws://localhost:8080/ws\n")
	require.Contains(t, out.String(), "admin api      http://localhost:8081 ")
}

func TestAnnounceSaysHowToConnectWithTLS(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := &process{out: &out, opts: Options{TLS: certs.Files{Cert: "cert.pem", Key: "key.pem"}}}
	require.NoError(t, p.announce(addresses{gateway: "127.0.0.1:8080", ops: "127.0.0.1:9090"}))
	require.Contains(t, out.String(), "https://127.0.0.1:8080/\n")
	require.Contains(t, out.String(), "wss://127.0.0.1:8080/ws\n")
	require.Contains(t, out.String(), "chat room-1 --server wss://127.0.0.1:8080/ws\n")
}
