package opskit

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckPortsFindsEveryProblem(t *testing.T) {
	t.Parallel()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, tcp.Close()) }()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, udp.Close()) }()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, free.Close())

	problems := CheckPorts(t.Context(),
		Port{Setting: "A", Addr: free.Addr().String()},
		Port{Setting: "B", Addr: tcp.Addr().String()},
		Port{Setting: "C", Addr: udp.LocalAddr().String(), UDP: true},
		Port{Setting: "D", Addr: free.Addr().String()},
		Port{Setting: "E", Addr: "127.0.0.1"},
		Port{Setting: "F", Addr: "127.0.0.1:70000"},
		Port{Setting: "G", Addr: "192.0.2.1:80"},
		Port{Setting: "H", Addr: "127.0.0.1:0", UDP: true},
	)
	var texts []string
	for _, p := range problems {
		texts = append(texts, p.Error())
	}
	_, port, err := net.SplitHostPort(free.Addr().String())
	require.NoError(t, err)
	require.Equal(t, []string{
		"B: " + tcp.Addr().String() + " is in use by another process: stop that one or choose another port",
		"C: " + udp.LocalAddr().String() + " is in use by another process: stop that one or choose another port",
		"A and D are both port " + port + ": give each its own",
		`E: "127.0.0.1" is not host:port with a port of 0 to 65535`,
		`F: "127.0.0.1:70000" is not host:port with a port of 0 to 65535`,
		"G: this machine does not have the address 192.0.2.1",
	}, texts)
	require.Empty(t, CheckPorts(t.Context(), Port{Setting: "A", Addr: free.Addr().String()}), "what was checked is free again")
}
