//go:build !linux

package pgtest

import (
	"errors"
	"fmt"
)

func mount(string, int) error { return fmt.Errorf("small disks: %w", errors.ErrUnsupported) }

func unmount(string) error { return nil }
