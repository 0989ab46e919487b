package dcplanetest

import (
	"context"
	"errors"
	"fmt"

	"github.com/parley-rt/parley/libs/dcplane"
)

// Eventually repeats a call that may find the control plane away, until it does not or ctx ends.
func Eventually(ctx context.Context, call func(context.Context) error) error {
	for {
		err := call(ctx)
		if err == nil || !errors.Is(err, dcplane.ErrUnavailable) {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}
