package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/opskit/auth"
	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/memory"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// canary is in every secret and token, and must never be in what is logged or answered.
const canary = "canary-canary-canary-canary-canary"

// script plays the rooms: it answers what it is told to and keeps what it was asked.
type script struct {
	mu     sync.Mutex
	answer func(ctx context.Context, f *roomv1.Frame) (*roomv1.Frame, error)
	asked  []*roomv1.Frame
	unused bool
	head   error
}

func (s *script) Ask(ctx context.Context, f *roomv1.Frame) (*roomv1.Frame, error) {
	s.mu.Lock()
	s.asked = append(s.asked, proto.CloneOf(f))
	answer := s.answer
	s.mu.Unlock()
	return answer(ctx, f)
}

func (s *script) Head(_ context.Context, key persistence.StreamKey) (persistence.Head, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head != nil || s.unused {
		return persistence.Head{Key: key}, s.head
	}
	return persistence.Head{Key: key, Epoch: 1}, nil
}

func (s *script) says(frame *roomv1.Frame, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = func(context.Context, *roomv1.Frame) (*roomv1.Frame, error) { return frame, err }
}

func (s *script) last(t testing.TB) *roomv1.Frame {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	require.NotEmpty(t, s.asked)
	return s.asked[len(s.asked)-1]
}

func (s *script) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// logs is what was logged, safe for concurrent use.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// bundle is a running API over a script.
type bundle struct {
	t      testing.TB
	api    *API
	rooms  *script
	logs   *logs
	reader *sdkmetric.ManualReader
	meter  metric.Meter
	tracer trace.Tracer
	http   *http.Client
	url    string
}

func setup(t testing.TB, edit ...func(*Config)) *bundle {
	t.Helper()
	b := &bundle{t: t, rooms: &script{}, logs: &logs{}, reader: sdkmetric.NewManualReader()}
	b.meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(b.reader)).Meter("test")
	b.tracer = sdktrace.NewTracerProvider().Tracer("test")
	b.rooms.says(nil, errAnswer)
	cfg := Config{Listen: "127.0.0.1:0", Auth: auth.Config{Mode: auth.ModeNone}}
	for _, e := range edit {
		e(&cfg)
	}
	var err error
	b.api, err = New(cfg, b.deps())
	require.NoError(t, err)
	require.NoError(t, b.api.Start(t.Context()))
	transport := &http.Transport{}
	b.http = &http.Client{Transport: transport, Timeout: 30 * time.Second}
	b.url = "http://" + b.api.Addr() + "/parley.admin.v1.RoomService/"
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, b.api.Stop(ctx))
	})
	return b
}

func (b *bundle) deps() Deps {
	return Deps{
		Rooms: b.rooms, Heads: b.rooms, Blocks: memory.New(memory.Options{}),
		Logger: slog.New(slog.NewJSONHandler(b.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Meter:  b.meter,
		Tracer: b.tracer,
		Now:    time.Now,
	}
}

// frameText is a frame as JSON, without the trace of the call.
func frameText(t testing.TB, f *roomv1.Frame) string {
	t.Helper()
	f = proto.CloneOf(f)
	for _, d := range f.GetPublish().GetDrafts() {
		d.Traceparent, d.Tracestate = "", ""
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(f)
	require.NoError(t, err)
	return string(text)
}

func withTokens(c *Config) {
	c.Auth = auth.Config{Mode: auth.ModeJWT, HMACSecret: opskit.NewSecret(canary), Audience: "parley"}
}

func token(t testing.TB, edit ...func(*auth.Claims)) string {
	t.Helper()
	c := auth.Claims{
		Subject: "ops@example.com", Audience: "parley", Scopes: []string{auth.ScopeAdmin},
		IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
	}
	for _, e := range edit {
		e(&c)
	}
	signed, err := auth.Sign(opskit.NewSecret(canary), c)
	require.NoError(t, err)
	return signed
}

// answer is an HTTP answer, read.
type answer struct {
	status int
	header http.Header
	body   map[string]any
	text   string
}

// call posts JSON as curl does.
func (b *bundle) call(method, body string, edit ...func(*http.Request)) answer {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.url+method, strings.NewReader(body))
	require.NoError(b.t, err)
	req.Header.Set("Content-Type", "application/json")
	for _, e := range edit {
		e(req)
	}
	res, err := b.http.Do(req)
	require.NoError(b.t, err)
	defer func() { require.NoError(b.t, res.Body.Close()) }()
	text, err := io.ReadAll(res.Body)
	require.NoError(b.t, err)
	a := answer{status: res.StatusCode, header: res.Header, text: string(text)}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		require.NoError(b.t, json.Unmarshal(text, &a.body), "%s", text)
	}
	return a
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// debug returns the readable form of an error's detail of that type.
func (a answer) debug(kind string) map[string]any {
	details, _ := a.body["details"].([]any)
	for _, d := range details {
		detail, _ := d.(map[string]any)
		if detail["type"] == "google.rpc."+kind {
			value, _ := detail["debug"].(map[string]any)
			return value
		}
	}
	return nil
}

// fields are the names of the fields that a BadRequest is about.
func (a answer) fields() []string {
	var names []string
	violations, _ := a.debug("BadRequest")["fieldViolations"].([]any)
	for _, v := range violations {
		violation, _ := v.(map[string]any)
		name, _ := violation["field"].(string)
		names = append(names, name)
	}
	return names
}

// counted sums the points of a counter with that attribute.
func (b *bundle) counted(name, key, value string) int64 {
	b.t.Helper()
	var data metricdata.ResourceMetrics
	require.NoError(b.t, b.reader.Collect(b.t.Context(), &data))
	var n int64
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != name {
				continue
			}
			switch points := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range points.DataPoints {
					if v, ok := p.Attributes.Value(attribute.Key(key)); ok && v.AsString() == value {
						n += p.Value
					}
				}
			case metricdata.Histogram[float64]:
				for _, p := range points.DataPoints {
					if v, ok := p.Attributes.Value(attribute.Key(key)); ok && v.AsString() == value {
						n += int64(p.Count)
					}
				}
			}
		}
	}
	return n
}
