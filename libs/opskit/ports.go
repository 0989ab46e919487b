package opskit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"syscall"
)

// Port is an address that a process is about to listen on, and the setting that names it.
type Port struct {
	Setting string // such as PARLEY_LISTEN
	Addr    string // host:port; port 0 is always free
	UDP     bool   // as well as TCP
}

// CheckPorts returns every problem of listening on all ports at the same time: malformed addresses, ports that other processes
// hold, and ports that two of the settings share. What it binds it frees before it returns.
func CheckPorts(ctx context.Context, ports ...Port) []error {
	var problems []error
	var held []io.Closer
	defer func() {
		for _, h := range held {
			_ = h.Close() // nothing was sent
		}
	}()
	owner := map[string]string{}
	for _, p := range ports {
		host, port, err := net.SplitHostPort(p.Addr)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %q is not host:port with a port of 0 to 65535", p.Setting, p.Addr))
			continue
		}
		closers, err := bind(ctx, p)
		held = append(held, closers...)
		switch {
		case err == nil:
		case errors.Is(err, syscall.EADDRINUSE) && owner[port] != "":
			problems = append(problems, fmt.Errorf("%s and %s are both port %s: give each its own", owner[port], p.Setting, port))
		case errors.Is(err, syscall.EADDRINUSE):
			problems = append(problems, fmt.Errorf("%s: %s is in use by another process: stop that one or choose another port", p.Setting, p.Addr))
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			problems = append(problems, fmt.Errorf("%s: this machine does not have the address %s", p.Setting, host))
		default:
			problems = append(problems, fmt.Errorf("%s: %w", p.Setting, err))
		}
		if port != "0" && owner[port] == "" {
			owner[port] = p.Setting
		}
	}
	return problems
}

func bind(ctx context.Context, p Port) ([]io.Closer, error) {
	var config net.ListenConfig
	tcp, err := config.Listen(ctx, "tcp", p.Addr)
	if err != nil || !p.UDP {
		return closers(tcp), err
	}
	udp, err := config.ListenPacket(ctx, "udp", p.Addr)
	if err != nil {
		return closers(tcp), err
	}
	return []io.Closer{tcp, udp}, nil
}

func closers(l net.Listener) []io.Closer {
	if l == nil {
		return nil
	}
	return []io.Closer{l}
}
