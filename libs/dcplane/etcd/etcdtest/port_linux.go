package etcdtest

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// port is one of 127.0.0.1 that nobody else is given.
type port struct {
	number int
	holder *os.File
}

// reservePort binds a free port and never listens on it. With SO_REUSEADDR another socket may bind it all the same, which
// etcd does; but the kernel gives it to nobody who asks for any port. So a server keeps its port while it is down.
func reservePort() (port, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return port{}, fmt.Errorf("reserve a port: %w", err)
	}
	p := port{holder: os.NewFile(uintptr(fd), "reserved port")}
	number, err := bindAny(fd)
	if err != nil {
		return port{}, errors.Join(fmt.Errorf("reserve a port: %w", err), p.release())
	}
	p.number = number
	return p, nil
}

func bindAny(fd int) (int, error) {
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, err
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, err
	}
	address, err := syscall.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	inet, ok := address.(*syscall.SockaddrInet4)
	if !ok {
		return 0, fmt.Errorf("unexpected address %v", address)
	}
	return inet.Port, nil
}

func (p port) release() error { return p.holder.Close() }
