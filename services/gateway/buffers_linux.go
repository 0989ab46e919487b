package gateway

import (
	"fmt"
	"syscall"
)

const (
	// sendBuffer and receiveBuffer bound what the kernel keeps for a connection, which it doubles for its own needs. Left to itself it
	// would keep 4 MiB for each that does not read, and 6 MiB of each that is not read. Both are enough for 5 Mbit/s over a round trip of
	// 200 ms.
	sendBuffer, receiveBuffer = 128 << 10, 64 << 10
	// unsent is how much the kernel takes of what it cannot send yet: a reader that stalls costs that, not all of sendBuffer.
	unsent = 32 << 10
	// tcpNotSentLowAt is TCP_NOTSENT_LOWAT, which package syscall does not know.
	tcpNotSentLowAt = 25
)

// boundBuffers is net.ListenConfig's Control for the socket of clients; what it sets, accepted connections inherit.
func boundBuffers(_, _ string, c syscall.RawConn) error {
	var problem error
	set := func(fd, level, option, value int) {
		if err := syscall.SetsockoptInt(fd, level, option, value); err != nil && problem == nil {
			problem = fmt.Errorf("set socket option %d: %w", option, err)
		}
	}
	if err := c.Control(func(fd uintptr) {
		set(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, sendBuffer)
		set(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, receiveBuffer)
		set(int(fd), syscall.IPPROTO_TCP, tcpNotSentLowAt, unsent)
	}); err != nil {
		return err
	}
	return problem
}
