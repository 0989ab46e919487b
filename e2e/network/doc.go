// Package network gives the processes of a test hosts of their own, and cuts the wires between them.
//
//	n, err := network.New()             // root, on Linux
//	a, err := n.Host("a")               // its own addresses, ports and firewall
//	cmd := exec.Command("server", "--listen", a.IP())
//	a.Run(cmd)                          // rewrites the command; cmd.Start() then runs it there
//	heal, err := n.Cut(network.Cut{From: a, To: b, Refuse: true})
//
// A Host is a network namespace, all of which hang on a bridge in one more namespace. This process is a host, too: Outside.
// Nothing has a name outside of this process: when it ends, in whatever way, the kernel removes everything.
//
// A cut without Refuse loses packets silently, like a pulled cable; with Refuse whoever sends is told at once, like by a
// machine that has nobody at that port. One cut is one direction: acknowledgements travel too, so a TCP connection over
// half a cut stalls all the same, but the side that only listens does not notice.
package network
