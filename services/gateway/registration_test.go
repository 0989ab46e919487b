package gateway

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/dcplane"
	dcmemory "github.com/parley-rt/parley/libs/dcplane/memory"
	"github.com/parley-rt/parley/libs/persistence/memory"
)

// interrupted loses its control plane whenever a registration is updated, until the update has failed.
type interrupted struct {
	dcplane.Directory
	plane *dcmemory.Plane
}

func (d *interrupted) Register(ctx context.Context, n dcplane.Node) (dcplane.Registration, error) {
	r, err := d.Directory.Register(ctx, n)
	return &interruptedRegistration{Registration: r, plane: d.plane}, err
}

type interruptedRegistration struct {
	dcplane.Registration
	plane *dcmemory.Plane
}

func (r *interruptedRegistration) Update(ctx context.Context, state dcplane.NodeState, load float64) error {
	r.plane.Stop()
	defer r.plane.Start(false)
	return r.Registration.Update(ctx, state, load)
}

// TestStartsWhileControlPlaneGoesAway: a node that cannot say that it is ready is ready all the same, and says it later.
func TestStartsWhileControlPlaneGoesAway(t *testing.T) {
	t.Parallel()
	plane := dcmemory.NewPlane()
	dir, err := plane.Open(t.Context(), dcmemory.Config{Lease: time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dir.Close(context.Background())) })
	cfg := Config{
		DC: "local", Node: "gateway-1", DataDir: t.TempDir(), Listen: "127.0.0.1:0", Auth: noAuth, DrainTimeout: time.Second,
	}
	s, err := New(cfg, Deps{Backend: memory.New(memory.Options{}), Directory: &interrupted{dir, plane}})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, s.Start(ctx))
	t.Cleanup(func() { require.NoError(t, s.Stop(context.Background())) })
	for {
		changed := dir.Changed()
		if n, ok := dir.Lookup("local", ServiceName, "gateway-1"); ok && n.State == dcplane.StateReady {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			require.FailNow(t, "never shown as ready")
		}
	}
}
