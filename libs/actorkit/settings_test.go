package actorkit_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/actorkit"
)

// good are settings without a problem.
func good() actorkit.Settings {
	return actorkit.Settings{AdvertiseHost: "127.0.0.1", RemotingPort: 3320, DiscoveryPort: 3321, PeersPort: 3322, Discovery: actorkit.DiscoveryStatic}
}

func TestSettingsNameEveryProblem(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		edit func(*actorkit.Settings)
		want []string // how each problem begins; in order
	}{
		"good":      {func(*actorkit.Settings) {}, nil},
		"own seed":  {func(s *actorkit.Settings) { s.Seeds, s.ClusterQuorum = []string{"127.0.0.1:3321"}, 1 }, nil},
		"free port": {func(s *actorkit.Settings) { s.DiscoveryPort = 0 }, nil},
		"a name":    {func(s *actorkit.Settings) { s.AdvertiseHost, s.Seeds = "localhost", []string{"localhost:3321"} }, nil},
		"ipv6":      {func(s *actorkit.Settings) { s.AdvertiseHost = "::1" }, []string{"PARLEY_ADVERTISE_HOST: ::1 is an IPv6 address"}},
		"anybody":   {func(s *actorkit.Settings) { s.AdvertiseHost = "0.0.0.0" }, []string{"PARLEY_ADVERTISE_HOST: nobody can connect to 0.0.0.0"}},
		"multicast": {func(s *actorkit.Settings) { s.AdvertiseHost = "224.0.0.1" }, []string{"PARLEY_ADVERTISE_HOST: 224.0.0.1 is not the address of one machine"}},
		"nat": {func(s *actorkit.Settings) { s.AdvertiseHost = "192.0.2.1" },
			[]string{"PARLEY_ADVERTISE_HOST: no interface of this machine has the address 192.0.2.1: nodes bind the address that they advertise, so it cannot be that of a NAT"}},
		"no name": {func(s *actorkit.Settings) { s.AdvertiseHost = "no.such.host.invalid" },
			[]string{`PARLEY_ADVERTISE_HOST: "no.such.host.invalid" is neither an IPv4 address nor a name that resolves to one`}},
		"ports": {func(s *actorkit.Settings) { s.RemotingPort, s.PeersPort = -1, 70000 },
			[]string{"PARLEY_REMOTING_PORT: -1 is not a port", "PARLEY_PEERS_PORT: 70000 is not a port"}},
		"seeds": {func(s *actorkit.Settings) {
			s.Seeds = []string{"rooms-1", "rooms-2:", "0.0.0.0:3321", "[::1]:3321", "10.0.0.1:3321", ":3321", "rooms-3:3321"}
		}, []string{
			`PARLEY_SEEDS: "rooms-1" is not host:port`,
			`PARLEY_SEEDS: "rooms-2:" has no port of 1 to 65535`,
			`PARLEY_SEEDS: nobody can connect to "0.0.0.0:3321"`,
			`PARLEY_SEEDS: "[::1]:3321" is an IPv6 address`,
			`PARLEY_SEEDS: "10.0.0.1:3321" and the advertised 127.0.0.1 cannot reach each other`,
			`PARLEY_SEEDS: ":3321" is not host:port`,
		}},
		"impossible quorum": {func(s *actorkit.Settings) { s.Seeds, s.ClusterQuorum = []string{"127.0.0.1:3321", "127.0.0.2:3321"}, 3 },
			[]string{"PARLEY_CLUSTER_QUORUM: 3 can never be reached by the 2 nodes in PARLEY_SEEDS: give more than half of them, 2, or name all nodes"}},
		"negative quorum": {func(s *actorkit.Settings) { s.ClusterQuorum = -1 }, []string{"PARLEY_CLUSTER_QUORUM: -1 is negative"}},
		"unnameable port": {func(s *actorkit.Settings) { s.DiscoveryPort, s.Seeds = 0, []string{"127.0.0.1:3321"} },
			[]string{"PARLEY_DISCOVERY_PORT: 0 takes a free port, which the other nodes cannot know"}},
		"dns": {func(s *actorkit.Settings) { s.Discovery = "dns" },
			[]string{"PARLEY_SEEDS is required with dns discovery", "PARLEY_CLUSTER_QUORUM is required with dns discovery"}},
		"nats": {func(s *actorkit.Settings) { s.Discovery, s.Seeds, s.ClusterQuorum = "nats", []string{"127.0.0.1:1"}, 2 },
			[]string{"PARLEY_SEEDS is of no use with nats discovery"}},
		"kubernetes": {func(s *actorkit.Settings) { s.Discovery, s.ClusterQuorum = "kubernetes", 2 },
			[]string{"PARLEY_KUBERNETES_SELECTOR is required with kubernetes discovery"}},
		"half of TLS": {func(s *actorkit.Settings) { s.ClusterTLS.CA = "/ca.pem" },
			[]string{"TLS between nodes is set only in part: set PARLEY_CLUSTER_TLS_CERT and PARLEY_CLUSTER_TLS_KEY as well"}},
		"selector": {func(s *actorkit.Settings) { s.KubernetesSelector = "a=b" },
			[]string{"PARLEY_KUBERNETES_SELECTOR and PARLEY_KUBERNETES_NAMESPACE are of no use with static discovery"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := good()
			c.edit(&s)
			var got []error
			if err := s.Validate(); err != nil {
				var joined interface{ Unwrap() []error }
				require.True(t, errors.As(err, &joined))
				got = joined.Unwrap()
			}
			require.Len(t, got, len(c.want), "%v", got)
			for i, want := range c.want {
				require.True(t, strings.HasPrefix(got[i].Error(), want), "%v", got[i])
			}
		})
	}
}

func TestSettingsQuorumIsMoreThanHalfOfTheSeeds(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]int{0: 1, 1: 1, 2: 2, 3: 2, 4: 3, 5: 3} {
		s := good()
		for i := range n {
			s.Seeds = append(s.Seeds, "127.0.0."+string(rune('1'+i))+":3321")
		}
		c, err := s.Apply(actorkit.NodeConfig{}, actorkit.NATSServer{}, "")
		require.NoError(t, err)
		require.Equal(t, want, c.Quorum, "of %d seeds", n)
	}
	s := good()
	s.Seeds = []string{"127.0.0.2:3321", "127.0.0.3:3321"}
	c, err := s.Apply(actorkit.NodeConfig{}, actorkit.NATSServer{}, "")
	require.NoError(t, err)
	require.Equal(t, 2, c.Quorum, "this node counts when it is not among the seeds")
	s.ClusterQuorum = 1
	c, err = s.Apply(actorkit.NodeConfig{}, actorkit.NATSServer{}, "")
	require.NoError(t, err)
	require.Equal(t, 1, c.Quorum)
}
