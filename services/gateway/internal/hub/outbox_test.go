package hub

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-rt/parley/libs/protocol/codec"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/gateway/internal/ws"
)

// listener is a connection's handler that expects nothing.
type listener struct{}

func (listener) Opened() time.Duration { return 0 }
func (listener) Message([]byte, bool)  {}
func (listener) Rest()                 {}
func (listener) Silence()              {}
func (listener) Closed(int)            {}

// A reader at full speed gets everything of commits far larger than its connection's outbox and the room's ring, and is
// not taken for a slow one.
func TestLargeCommitsReachARealConnection(t *testing.T) {
	t.Parallel()
	h, u, _ := startHub(t)
	conns := make(chan *ws.Conn, 1)
	acceptor, err := ws.NewAcceptor(ws.Config{}, ws.NewWheel(time.Hour), metricnoop.NewMeterProvider(), slog.New(slog.DiscardHandler),
		func(*http.Request) (time.Duration, bool) { return 0, true },
		func(c *ws.Conn, _ *http.Request) ws.Handler {
			conns <- c
			return listener{}
		})
	require.NoError(t, err)
	server := httptest.NewServer(acceptor)
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	client, res, err := websocket.Dial(ctx, server.URL, nil)
	require.NoError(t, err)
	if res.Body != nil {
		require.NoError(t, res.Body.Close())
	}
	client.SetReadLimit(1 << 20)
	conn := <-conns
	h.Attach(conn, "r", Start{Member: "a", Incarnation: 1})
	u.live(t, "r")

	const commits, each = 20, 15
	content := strings.Repeat("x", 30_000)
	for i := range uint64(commits) {
		d := &roomv1.Deliver{Epoch: 1, AcceptedAt: timestamppb.Now()}
		for j := range uint64(each) {
			seq := i*each + j + 1
			d.Messages = append(d.Messages, &roomv1.Message{Seq: seq, PrevSeq: seq - 1, Content: content})
		}
		// Pages that a connection falls back to are of the same history.
		u.last.Store((i + 1) * each)
		u.say("rooms-1", &roomv1.Frame{RoomId: "r", Kind: &roomv1.Frame_Deliver{Deliver: d}})
		h.Rejoin(conn, "r", 1) // an answer between them must not be one too many
	}
	for want := uint64(1); want <= commits*each; {
		_, payload, err := client.Read(ctx)
		require.NoError(t, err, "before message %d", want)
		env, err := codec.DecodeJSON(payload)
		require.NoError(t, err)
		if m := env.GetMessage(); m != nil {
			require.Equal(t, want, m.GetSeq())
			want++
		}
	}
	require.False(t, conn.Closing())
	require.NoError(t, client.CloseNow())
	require.NoError(t, acceptor.Shutdown(ctx))
}
