package scheduler

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/parley-rt/parley/libs/actorkit"
	planes "github.com/parley-rt/parley/libs/dcplane/open"
	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/opskit/auth"
	"github.com/parley-rt/parley/libs/persistence/open"
	"github.com/parley-rt/parley/libs/protocol/ids"
)

// Settings are what an operator says about a scheduler process: flags, variables PARLEY_…, keys of a file.
type Settings struct {
	opskit.ProcessConfig `embed:""`
	actorkit.Settings    `embed:""`

	JournalURL      opskit.Secret `name:"journal-url" required:"true" placeholder:"URL" help:"The journal, the same for all services: postgres://user:password@host/database, or sqlite://path for a single process."`
	Migrate         string        `enum:"auto,off" default:"off" help:"Whether to bring the journal's schema up to date at the start: auto, or off to refuse one that is not."`
	ControlPlaneURL opskit.Secret `name:"control-plane-url" required:"true" placeholder:"URL" help:"The control plane, the same for all services: nats://host:port or etcd://host:port, several hosts separated by commas."`

	APIListen string      `name:"api-listen" placeholder:"HOST:PORT" help:"Address of the API for administrators. Empty: it is not served."`
	Auth      auth.Config `embed:"" prefix:"auth-"`
}

// Validate returns every problem with what to do about it.
func (s *Settings) Validate() error {
	var problems []error
	if !s.JournalURL.Empty() {
		err := open.Check(s.JournalURL.Reveal())
		if err == nil && strings.HasPrefix(s.JournalURL.Reveal(), "memory:") {
			err = errors.New("memory:// would lose every schedule with this process and be seen by no other: name a database, postgres://…")
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("PARLEY_JOURNAL_URL: %w", err))
		}
	}
	if !s.ControlPlaneURL.Empty() {
		if err := planes.Check(s.ControlPlaneURL.Reveal()); err != nil {
			problems = append(problems, fmt.Errorf("PARLEY_CONTROL_PLANE_URL: %w", err))
		}
	}
	if s.Discovery == actorkit.DiscoveryNATS && !s.ControlPlaneURL.Empty() && !strings.HasPrefix(s.ControlPlaneURL.Reveal(), "nats://") && !strings.HasPrefix(s.ControlPlaneURL.Reveal(), "tls://") {
		problems = append(problems, errors.New("PARLEY_DISCOVERY: nats uses the control plane's server, which is not NATS here: choose static, dns or kubernetes"))
	}
	problems = append(problems, checkName("PARLEY_DC", s.DC), checkName("PARLEY_NODE", s.Node))
	if s.APIListen != "" {
		problems = append(problems, s.Auth.Check())
	}
	// Only of a configuration that has what every one must have and in which nothing else is wrong.
	if _, err := s.Host(); err == nil && s.DC != "" && s.Node != "" && errors.Join(problems...) == nil {
		if c, err := s.config(); err != nil {
			problems = append(problems, err)
		} else {
			problems = append(problems, c.withDefaults().validate())
		}
	}
	problems = append(problems, opskit.CheckPorts(context.Background(), s.listens()...)...)
	return errors.Join(problems...)
}

// checkName checks the name of a node or a datacenter. One that is missing is reported as such.
func checkName(setting, name string) error {
	if name == "" {
		return nil
	}
	if err := ids.CheckNode(name); err != nil {
		return fmt.Errorf("%s: %w", setting, err)
	}
	return nil
}

// listens are all addresses that the process binds.
func (s *Settings) listens() []opskit.Port {
	ports := []opskit.Port{{Setting: "PARLEY_OPS_LISTEN", Addr: s.OpsListen}}
	if s.APIListen != "" {
		ports = append(ports, opskit.Port{Setting: "PARLEY_API_LISTEN", Addr: s.APIListen})
	}
	for _, a := range s.Addresses() {
		ports = append(ports, opskit.Port{Setting: a.Setting, Addr: a.Addr, UDP: a.UDP})
	}
	return ports
}

// config is the service's part.
func (s *Settings) config() (Config, error) {
	var discovery actorkit.NATSServer
	if s.Discovery == actorkit.DiscoveryNATS {
		var err error
		if discovery.URL, discovery.Options, err = planes.NATS(s.ControlPlaneURL.Reveal()); err != nil {
			return Config{}, err
		}
	}
	node, err := s.Apply(actorkit.NodeConfig{}, discovery, systemName(s.DC))
	if err != nil {
		return Config{}, err
	}
	return Config{
		DC: s.DC, Region: s.Region, Node: s.Node, DataDir: s.DataDir, Version: opskit.Version().Version,
		Host: node.Host, RemotingPort: node.RemotingPort, DiscoveryPort: node.DiscoveryPort, PeersPort: node.PeersPort,
		Finder: node.Finder, Quorum: node.Quorum, TLS: node.TLS,
		APIListen: s.APIListen, Auth: s.Auth,
	}, nil
}
