//go:build !linux

package network

import "fmt"

func newNamespace() (*namespace, error) {
	return nil, fmt.Errorf("%w: they are Linux's", ErrUnavailable)
}
