//go:build !linux

package etcdtest

import (
	"fmt"
	"net"
)

// port was free when it was looked for.
type port struct{ number int }

func reservePort() (port, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return port{}, fmt.Errorf("find a free port: %w", err)
	}
	address, ok := listener.Addr().(*net.TCPAddr)
	if err := listener.Close(); err != nil || !ok {
		return port{}, fmt.Errorf("find a free port: %v: %w", listener.Addr(), err)
	}
	return port{number: address.Port}, nil
}

func (port) release() error { return nil }
