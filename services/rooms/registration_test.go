package rooms

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/memory"
	journalmemory "github.com/parley-rt/parley/libs/persistence/memory"
)

// interrupted loses its control plane whenever a registration is updated, until the update has failed.
type interrupted struct {
	dcplane.Directory
	plane *memory.Plane
}

func (d *interrupted) Register(ctx context.Context, n dcplane.Node) (dcplane.Registration, error) {
	r, err := d.Directory.Register(ctx, n)
	return &interruptedRegistration{Registration: r, plane: d.plane}, err
}

type interruptedRegistration struct {
	dcplane.Registration
	plane *memory.Plane
}

func (r *interruptedRegistration) Update(ctx context.Context, state dcplane.NodeState, load float64) error {
	r.plane.Stop()
	defer r.plane.Start(false)
	return r.Registration.Update(ctx, state, load)
}

// TestStartsWhileControlPlaneGoesAway: a node that cannot say that it is ready is ready all the same, and says it later.
func TestStartsWhileControlPlaneGoesAway(t *testing.T) {
	t.Parallel()
	plane := memory.NewPlane()
	dir, err := plane.Open(t.Context(), memory.Config{Lease: time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dir.Close(context.Background())) })
	s, err := New(Config{DC: "dc-a", Node: "rooms-1", DataDir: t.TempDir()}, Deps{
		Backend: journalmemory.New(journalmemory.Options{}), Directory: &interrupted{dir, plane}, Logger: testLogger(t),
	})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, s.Start(ctx))
	t.Cleanup(func() { stopRooms(t, s) })
	for {
		changed := dir.Changed()
		if n, ok := dir.Lookup("dc-a", ServiceName, "rooms-1"); ok && n.State == dcplane.StateReady {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			require.FailNow(t, "never shown as ready")
		}
	}
}
