//go:build !linux

package ws

import (
	"errors"
	"syscall"
	"time"
)

// poller is not there: each connection has a goroutine that reads.
type poller struct{}

func newPoller() (*poller, error) { return nil, errors.ErrUnsupported }

func (*poller) add(syscall.RawConn, uint64) error { return errors.ErrUnsupported }
func (*poller) run(*loop)                         {}
func (*poller) until(time.Time)                   {}
func (*poller) close()                            {}

func readNow(syscall.RawConn, []byte) (int, error) { return 0, errors.ErrUnsupported }
