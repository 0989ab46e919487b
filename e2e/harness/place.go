package harness

import (
	"os/exec"

	"github.com/parley-rt/parley/e2e/network"
)

// loopback is where processes are that have no host of their own.
const loopback = "127.0.0.1"

// place is where a process runs: on a host of its own, or among all others on loopback.
type place struct {
	host *network.Host
	// resolver is seen there in place of /etc/resolv.conf, when it is not empty.
	resolver string
	// group is the directory of a control group that the process begins in. Empty: this process's.
	group string
}

func (p place) ip() string {
	if p.host == nil {
		return loopback
	}
	return p.host.IP()
}

// command is one that runs there.
func (p place) command(binary string, args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	if p.resolver != "" {
		// In a mount namespace; the process that the shell becomes keeps its number and parent.
		const mount = `mount --bind "$0" /etc/resolv.conf && exec "$@"`
		cmd = exec.Command("unshare", append([]string{"--mount", "sh", "-c", mount, p.resolver, binary}, args...)...)
	}
	if p.group != "" {
		// The process that the shell becomes keeps its number and parent.
		const enter = `echo $$ >"$0/cgroup.procs" && exec "$@"`
		cmd = exec.Command("sh", append([]string{"-c", enter, p.group}, cmd.Args...)...)
	}
	if p.host != nil {
		p.host.Run(cmd)
	}
	return cmd
}
