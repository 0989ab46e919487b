package nats

import (
	"testing"
	"time"

	natsio "github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

func TestConfigRefused(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]Config{
		"exactly one of URL, Conn and InProcess must be set, not 0": {},
		"exactly one of URL, Conn and InProcess must be set, not 2": {URL: "nats://h", Conn: &natsio.Conn{}},
		`scheme "http" is neither nats nor tls`:                     {URL: "http://h:4222"},
		`scheme "localhost" is neither nats nor tls`:                {URL: "localhost:4222"},
		`nats url "nats:" has no host`:                              {URL: "nats://"},
		`nats url "": scheme "" is neither`:                         {URL: "nats://h,"},
		`invalid port ":x" after host`:                              {URL: "nats://h:x"},
		`port "0" is not in 1–65535`:                                {URL: "nats://h:0"},
		`port "70000" is not in 1–65535`:                            {URL: "nats://h:70000"},
		`nats url "nats://u:xxxxx@h/b" has more than user, host`:    {URL: "nats://u:secret@h/b"},
		"missing ']' in host":                                       {URL: "nats://u:secret@[::1"},
		`bucket "a.b" has characters other than`:                    {URL: "nats://h", Bucket: "a.b"},
		"replicas 7 is not in 1–5":                                  {URL: "nats://h", Replicas: 7},
		"lease 1m0s is above 20s":                                   {URL: "nats://h", Lease: time.Minute, RefreshEvery: time.Hour, MaxCacheStaleness: time.Hour},
		"refresh period 1s is below the lease 4s":                   {URL: "nats://h", RefreshEvery: time.Second},
	} {
		err := cfg.Validate()
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "secret")
		_, connectErr := Connect(t.Context(), cfg)
		require.ErrorContains(t, connectErr, want, "Connect refuses it at once")
	}
	require.NoError(t, Config{URL: "nats://a:4222, tls://user:pw@[::1]:4223"}.Validate())
}
