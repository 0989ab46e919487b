package parley

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
)

// readLimit leaves room for a history page, which is at most 1 MiB, and its escapes.
const readLimit = 8 << 20

// errLost is the end of a connection without a close frame.
var errLost = errors.New("connection lost")

// closeWait bounds the closing handshake.
const closeWait = time.Second

// socket is one WebSocket carrying Envelopes. Reading and writing may go on at once, each from one goroutine.
type socket struct {
	ws    *websocket.Conn
	codec codec.Codec
	kind  websocket.MessageType
	in    bytes.Buffer
	out   []byte
}

func openSocket(ctx context.Context, address string, cfg Config) (*socket, error) {
	offered := []string{codec.SubprotocolJSON}
	if cfg.Binary {
		offered = []string{codec.SubprotocolBinary, codec.SubprotocolJSON}
	}
	//nolint:bodyclose // Dial documents that the body is replaced or closed: there is nothing to close.
	ws, resp, err := websocket.Dial(ctx, promising(address), &websocket.DialOptions{
		HTTPClient:   cfg.HTTPClient,
		HTTPHeader:   cfg.Header,
		Subprotocols: offered,
	})
	if err != nil {
		if resp != nil {
			return nil, &HandshakeError{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header), Err: err}
		}
		// The cause alone: what surrounds it repeats the address.
		if get, ok := errors.AsType[*url.Error](err); ok {
			err = get.Err
		}
		return nil, err
	}
	ws.SetReadLimit(readLimit)
	if ws.Subprotocol() == codec.SubprotocolBinary {
		return &socket{ws: ws, codec: codec.Binary{}, kind: websocket.MessageBinary}, nil
	}
	return &socket{ws: ws, codec: codec.JSON{}, kind: websocket.MessageText}, nil
}

// promising tells the server that hello follows, however long that takes: it waits only a moment for those who do not say so.
func promising(address string) string {
	if strings.Contains(address, "?") {
		return address + "&hello=1"
	}
	return address + "?hello=1"
}

// retryAfter reads the header in seconds; the form with a date is not used by servers that say "later".
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.ParseUint(h.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// read returns the next frame. Frames of kinds that this SDK does not know are skipped: the server is newer.
func (s *socket) read(ctx context.Context) (*clientv1.Envelope, error) {
	for {
		kind, r, err := s.ws.Reader(ctx)
		if err != nil {
			return nil, closeError(err)
		}
		s.in.Reset()
		if _, err := s.in.ReadFrom(r); err != nil {
			return nil, closeError(err)
		}
		if kind != s.kind {
			return nil, fmt.Errorf("server sent a message of the wrong kind for %s", s.codec.Subprotocol())
		}
		env, err := s.codec.Decode(s.in.Bytes())
		if err == nil {
			return env, nil
		}
		var refused *codec.DecodeError
		if !errors.As(err, &refused) || refused.Code != clientv1.ErrorCode_ERROR_CODE_UNKNOWN_KIND {
			return nil, fmt.Errorf("read frame: %w", err)
		}
	}
}

func (s *socket) write(ctx context.Context, env *clientv1.Envelope) error {
	out, err := s.codec.Append(s.out[:0], env)
	if err != nil {
		return err
	}
	s.out = out
	return closeError(s.ws.Write(ctx, s.kind, out))
}

// closeError makes a close frame of the server a *CloseError.
func closeError(err error) error {
	if err == nil {
		return nil
	}
	if ce, ok := errors.AsType[websocket.CloseError](err); ok {
		return &CloseError{Code: CloseCode(ce.Code), Reason: ce.Reason}
	}
	if errors.Is(err, io.EOF) {
		return errLost
	}
	return fmt.Errorf("%w: %w", errLost, err)
}
