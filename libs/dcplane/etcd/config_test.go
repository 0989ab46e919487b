package etcd

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestConfigRefused(t *testing.T) {
	t.Parallel()
	h := []string{"h:1"}
	for want, cfg := range map[string]Config{
		"no endpoint is given":                         {},
		`endpoint "h" is not host:port`:                {Endpoints: []string{"h"}},
		`endpoint ":1" is not host:port`:               {Endpoints: []string{":1"}},
		`endpoint "h:x": port "x" is not in 1–65535`:   {Endpoints: []string{"h:x"}},
		`endpoint "h:0": port "0" is not in 1–65535`:   {Endpoints: []string{"h:1", "h:0"}},
		"of username and password only one is given":   {Endpoints: h, Password: "secret"},
		`prefix "/" is not like /name/`:                {Endpoints: h, Prefix: "/"},
		`prefix "/a" is not like /name/`:               {Endpoints: h, Prefix: "/a"},
		`prefix "a/" is not like /name/`:               {Endpoints: h, Prefix: "a/"},
		`prefix "/a//b/" is not like /name/`:           {Endpoints: h, Prefix: "/a//b/"},
		"lease 1ms is below 200ms":                     {Endpoints: h, Lease: time.Millisecond},
		"refresh period 1s is below the lease 4s":      {Endpoints: h, RefreshEvery: time.Second},
		"max cache staleness 1s is below the lease 4s": {Endpoints: h, MaxCacheStaleness: time.Second},
	} {
		err := cfg.Validate()
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "secret")
		d, openErr := Open(cfg)
		require.ErrorContains(t, openErr, want, "Open refuses it at once")
		require.Nil(t, d)
		d, connectErr := Connect(t.Context(), cfg)
		require.ErrorContains(t, connectErr, want)
		require.Nil(t, d, "no interface around a nil pointer")
	}
	require.NoError(t, Config{Endpoints: []string{"[::1]:2379", "h:1"}, Username: "u", Password: "p", Prefix: "/a/b/"}.Validate())
}

func TestLeaseIsRoundedUp(t *testing.T) {
	t.Parallel()
	for lease, want := range map[time.Duration]int64{
		0: 4, 200 * time.Millisecond: 1, time.Second: 1, 1001 * time.Millisecond: 2, 4 * time.Second: 4,
	} {
		require.Equal(t, want, Config{Lease: lease}.ttl())
	}
}

func TestPlaneGenerations(t *testing.T) {
	t.Parallel()
	var p plane
	for _, step := range []struct {
		identity string
		revision int64
		want     uint64
		why      string
	}{
		{"a", 5, 1, "the first"},
		{"a", 5, 1, "nothing happened"},
		{"a", 9, 1, "it went on"},
		{"b", 12, 2, "made anew, and already further"},
		{"b", 3, 3, "an old backup"},
		{"b", 4, 3, "it went on"},
	} {
		require.Equal(t, step.want, p.seen(step.identity, step.revision), step.why)
	}
}
