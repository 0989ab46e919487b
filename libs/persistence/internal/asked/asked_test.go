package asked

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

var (
	errPut    = errors.New("refused")
	errResult = errors.New("result")
)

func TestWait(t *testing.T) {
	t.Parallel()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx       context.Context
		put       func(cancel func(), r *Request) error
		leaves    bool
		left      func(r *Request)
		is, isNot error
	}{
		"answered":           {put: func(_ func(), r *Request) error { r.Take(); r.Answer(errResult); return nil }, is: errResult},
		"not queued":         {ctx: over, is: persistence.ErrUnavailable},
		"refused":            {put: func(func(), *Request) error { return errPut }, is: errPut},
		"over in the queue":  {put: func(cancel func(), _ *Request) error { cancel(); return nil }, is: persistence.ErrUnavailable},
		"over at the writer": {put: func(cancel func(), r *Request) error { r.Take(); cancel(); return nil }, leaves: true, is: persistence.ErrUnknown},
		"answered when left": {
			put:  func(cancel func(), r *Request) error { r.Take(); cancel(); return nil },
			left: func(r *Request) { r.Answer(errResult) }, leaves: true, is: errResult, isNot: persistence.ErrUnknown,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.ctx != nil {
				ctx = c.ctx
			}
			var r Request
			left := false
			err := r.Wait(ctx, func() error { return c.put(cancel, &r) }, func() {
				left = true
				if c.left != nil {
					c.left(&r)
				}
			})
			require.ErrorIs(t, err, c.is)
			if c.isNot != nil {
				require.NotErrorIs(t, err, c.isNot)
			}
			require.Equal(t, c.leaves, left)
			if errors.Is(c.is, persistence.ErrUnavailable) && c.ctx == nil {
				require.False(t, r.Take(), "it was withdrawn")
			}
		})
	}
}

func TestThen(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		limit  time.Duration
		put    func(r *Request) error
		leaves bool
		is     error
	}{
		"answered":           {limit: time.Hour, put: func(r *Request) error { r.Take(); r.Answer(errResult); return nil }, is: errResult},
		"refused":            {limit: time.Hour, put: func(*Request) error { return errPut }, is: errPut},
		"over in the queue":  {limit: time.Millisecond, put: func(*Request) error { return nil }, is: persistence.ErrUnavailable},
		"over at the writer": {limit: time.Millisecond, put: func(*Request) error { return nil }, leaves: true, is: persistence.ErrUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r Request
			left := make(chan struct{}, 1)
			results := make(chan error, 2)
			if c.leaves { // before the time is over
				require.True(t, r.Take())
			}
			r.Then(c.limit, func() error { return c.put(&r) }, func() { left <- struct{}{} }, func(err error) { results <- err })
			require.ErrorIs(t, <-results, c.is)
			require.Len(t, left, map[bool]int{true: 1}[c.leaves])
			if c.leaves {
				r.Answer(nil)
				require.Empty(t, results, "there is one result")
			}
		})
	}
}
