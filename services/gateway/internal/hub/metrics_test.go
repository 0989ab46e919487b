package hub

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/protobuf/types/known/timestamppb"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// Connections that a room takes out are counted by the reason, and the time since the ruling is measured once for all of them.
func TestEvictionsAreMeasured(t *testing.T) {
	t.Parallel()
	reader := sdkmetric.NewManualReader()
	h, u, c := startMeasuredHub(t, sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
	out := []*messages{attach(h, "r", "ada"), attach(h, "r", "ada"), attach(h, "r", "bob")}
	u.live(t, "r")
	u.say("rooms-1", &roomv1.Frame{RoomId: "r", Kind: &roomv1.Frame_Evicted{Evicted: &roomv1.Evicted{
		Epoch: 1, Seq: 1, RemovalSeq: 1, RuledAt: timestamppb.New(c.now().Add(-250 * time.Millisecond)), Members: []*roomv1.Eviction{
			{MemberId: "ada", Code: int32(clientv1.ErrorCode_ERROR_CODE_BANNED)},
			{MemberId: "bob", Code: int32(clientv1.ErrorCode_ERROR_CODE_NOT_JOINED)},
			{MemberId: "elsewhere", Code: int32(clientv1.ErrorCode_ERROR_CODE_BANNED)},
		},
	}}})
	for _, m := range out {
		m.expect(t, "room_left ")
	}
	require.NoError(t, h.Close(t.Context()))

	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	evictions, delays := map[string]int64{}, []metricdata.HistogramDataPoint[float64]{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch m.Name {
			case "parley.gateway.evictions":
				for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
					reason, _ := p.Attributes.Value(attribute.Key("reason"))
					require.Equal(t, 1, p.Attributes.Len(), "no room, no member")
					evictions[reason.AsString()] = p.Value
				}
			case "parley.eviction.delay":
				delays = m.Data.(metricdata.Histogram[float64]).DataPoints
			}
		}
	}
	require.Equal(t, map[string]int64{"banned": 2, "kicked": 1}, evictions)
	require.Len(t, delays, 1)
	require.Equal(t, uint64(1), delays[0].Count)
	require.InDelta(t, 0.25, delays[0].Sum, 0.001)
}
