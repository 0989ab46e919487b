package rooms

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/parley-rt/parley/libs/dcplane/memory"
	journalmemory "github.com/parley-rt/parley/libs/persistence/memory"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// Every ruling is counted once, by what it was and what became of it, and gateways learn when it was made.
func TestRulingsAreCounted(t *testing.T) {
	t.Parallel()
	reader := sdkmetric.NewManualReader()
	plane := memory.NewPlane()
	gw, ops := startGateway(t, plane, "gw-1"), startPeer(t, plane, ServiceName, "ops-1")
	dir, err := plane.Open(t.Context(), memory.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dir.Close(context.Background())) })
	s, err := New(Config{DC: "dc-a", Node: "rooms-1", DataDir: t.TempDir(), MovesPerSecond: -1}, Deps{
		Backend: journalmemory.New(journalmemory.Options{}), Directory: dir, Logger: testLogger(t),
		MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)),
	})
	require.NoError(t, err)
	require.NoError(t, s.Start(t.Context()))
	t.Cleanup(func() { stopRooms(t, s) })
	gw.connect(s)
	ops.connect(s)
	gw.join("rooms-1", "lobby", "ada")
	gw.subscribe("rooms-1", "lobby")

	begin := time.Now()
	for i, command := range []any{
		&roomv1.MuteMember{MemberId: "ada", Lasting: durationpb.New(time.Minute)},
		&roomv1.UnmuteMember{MemberId: "ada"},
		&roomv1.KickMember{MemberId: "ada"},
		&roomv1.BanMember{MemberId: "ada"},
		&roomv1.UnbanMember{MemberId: "ada"},
		&roomv1.UnbanMember{MemberId: "ada"},
	} {
		require.NotNil(t, ops.ask("rooms-1", "lobby", administerFrame(string(rune('a'+i)), command)).GetAdministered())
	}
	require.NotNil(t, ops.ask("rooms-1", "lobby", administerFrame("d", &roomv1.BanMember{MemberId: "ada"})).GetAdministered(), "asked again")
	refusedWith(t, ops.ask("rooms-1", "lobby", administerFrame("z", &roomv1.KickMember{})), clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT)
	frame, _ := gw.evicted("lobby", "ada")
	require.WithinRange(t, frame.GetRuledAt().AsTime(), begin, time.Now())

	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	got := make(map[[2]string]int64)
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != "parley.room.rulings" {
				continue
			}
			for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
				kind, _ := p.Attributes.Value(attribute.Key("kind"))
				outcome, _ := p.Attributes.Value(attribute.Key("outcome"))
				require.Equal(t, 2, p.Attributes.Len(), "no room, no member")
				got[[2]string{kind.AsString(), outcome.AsString()}] = p.Value
			}
		}
	}
	require.Equal(t, map[[2]string]int64{
		{"mute", "enacted"}: 1, {"unmute", "enacted"}: 1, {"kick", "enacted"}: 1, {"ban", "enacted"}: 1, {"unban", "enacted"}: 1,
		{"unban", "unchanged"}: 1, {"ban", "duplicate"}: 1, {"kick", "refused"}: 1,
	}, got)
}
