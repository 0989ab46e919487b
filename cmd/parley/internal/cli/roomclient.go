package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/protocol/admin/v1/adminv1connect"
)

// apiFlags say where the API for administrators is and who asks.
type apiFlags struct {
	API       string        `name:"api" help:"Address of the API of any rooms node; for schedules, of any scheduler node." default:"http://127.0.0.1:8081" placeholder:"URL"`
	Token     opskit.Secret `help:"Token of an administrator; better in the variable or in a file than here, where others can see it." placeholder:"TOKEN"`
	TokenFile string        `help:"File with that token." placeholder:"FILE" env:"-"`
	Timeout   time.Duration `help:"How long to try." default:"15s" env:"-"`
	JSON      bool          `name:"json" help:"Print one JSON object, of a list one per entry."`
}

// Validate refuses what no attempt could work with.
func (f apiFlags) Validate() error {
	u, err := url.Parse(f.API)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("--api: %q is no http:// or https:// address", f.API)
	}
	if !f.Token.Empty() && f.TokenFile != "" {
		return errors.New("--token-file: there is a token in --token or PARLEY_TOKEN too: keep one")
	}
	return nil
}

// maxTokenFile bounds what is read of a token's file.
const maxTokenFile = 64 << 10

func (f apiFlags) token() (string, error) {
	if f.TokenFile == "" {
		return f.Token.Reveal(), nil
	}
	file, err := os.Open(f.TokenFile)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxTokenFile))
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fmt.Errorf("--token-file: %s is empty", f.TokenFile)
	}
	return token, nil
}

// admin is one command's way to the API.
type admin struct {
	adminv1connect.RoomServiceClient
	schedules adminv1connect.ScheduleServiceClient
	flags     apiFlags
	out       io.Writer
}

// withAPI runs a command on the API, within the command's time.
func (f apiFlags) withAPI(ctx context.Context, streams Streams, fn func(ctx context.Context, a admin) error) error {
	token, err := f.token()
	if err != nil {
		return err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: &bearer{token: token, next: transport}}
	limited, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	err = fn(limited, admin{
		RoomServiceClient: adminv1connect.NewRoomServiceClient(client, f.API), schedules: adminv1connect.NewScheduleServiceClient(client, f.API),
		flags: f, out: streams.Out,
	})
	if ctx.Err() != nil && err != nil {
		return interrupted(errors.Join(ctx.Err(), err))
	}
	return f.explain(err)
}

// bearer adds the token to requests.
type bearer struct {
	token string
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	if b.token != "" {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer "+b.token)
	}
	return b.next.RoundTrip(req)
}

// call asks once more for as long as the answer is that it may work in a moment. The request must be one that can be
// repeated: it only reads, or it has an id of its own.
func call[Req, Res any](ctx context.Context, req *Req, ask func(context.Context, *Req) (*Res, error)) (*Res, error) {
	for {
		res, err := ask(ctx, req)
		wait, again := retryAfter(err)
		if !again {
			return res, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		}
	}
}

// retryAfter is how long to wait before another attempt; false: another one is of no use.
func retryAfter(err error) (time.Duration, bool) {
	var told *connect.Error
	if !errors.As(err, &told) || !connect.IsWireError(err) {
		return 0, false // nobody answered: the address is wrong, or the server is not there
	}
	for _, d := range told.Details() {
		value, err := d.Value()
		if retry, ok := value.(*errdetails.RetryInfo); err == nil && ok {
			return retry.GetRetryDelay().AsDuration(), true
		}
	}
	return 0, false
}

// usageError is a mistake of whoever typed the command, found by the server.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// explain says what to do about an error of the API.
func (f apiFlags) explain(err error) error {
	var told *connect.Error
	if !errors.As(err, &told) {
		return err
	}
	text := errors.New(told.Message())
	switch {
	case told.Code() == connect.CodeInvalidArgument:
		return usageError{text}
	case told.Code() == connect.CodeUnauthenticated && connect.IsWireError(err):
		return fmt.Errorf("%w: make one with `parley token --admin` and give it in PARLEY_TOKEN or --token-file", text)
	case told.Code() == connect.CodeDeadlineExceeded && !connect.IsWireError(err):
		return fmt.Errorf("no answer from %s within %s; what was asked may have been done", f.API, f.Timeout)
	case connect.IsWireError(err):
		return text
	default:
		return fmt.Errorf("reach the API at %s: %w (is `parley dev` running? --api names another address)", f.API, text)
	}
}

// print writes an answer as JSON when that was asked for, else as text does.
func (a admin) print(answer proto.Message, text func(w io.Writer) error) error {
	if !a.flags.JSON {
		return text(a.out)
	}
	return printProto(a.out, answer)
}

// printProto writes one line, the same for the same answer, unlike protojson by itself.
func printProto(w io.Writer, m proto.Message) error {
	encoded, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	return compactJSON(w, encoded)
}
