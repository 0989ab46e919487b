package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/coder/websocket"

	"github.com/parley-rt/parley/e2e/history"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
)

// Gateway is where clients connect to.
type Gateway struct{ Name, URL string }

const (
	// openTimeout bounds an attempt to connect, session included.
	openTimeout = 3 * time.Second
	// pingEvery is the silence after which a client asks for a sign of life, silentAfter the one after which it gives up.
	pingEvery, silentAfter    = time.Second, 4 * time.Second
	backoffLeast, backoffMost = 50 * time.Millisecond, 300 * time.Millisecond
)

// wire is one connection of a client that hides nothing of what the server does.
type wire struct {
	gateway Gateway
	socket  *websocket.Conn
	codec   codec.Codec
}

func (w *wire) send(ctx context.Context, e *clientv1.Envelope) error {
	frame, err := w.codec.Append(nil, e)
	if err != nil {
		return err
	}
	kind := websocket.MessageBinary
	if w.codec.Text() {
		kind = websocket.MessageText
	}
	ctx, cancel := context.WithTimeout(ctx, silentAfter)
	defer cancel()
	return w.socket.Write(ctx, kind, frame)
}

func (w *wire) read(ctx context.Context) (*clientv1.Envelope, error) {
	_, frame, err := w.socket.Read(ctx)
	if err != nil {
		return nil, err
	}
	return w.codec.Decode(frame)
}

// identity is the part of a client that survives its connections.
type identity struct {
	gateways []Gateway
	// at is the gateway that it goes to next.
	at    int
	codec codec.Codec
	// record is where violations go.
	record        *history.Recorder
	random        *rand.Rand
	token, member string
	attempt       uint64
}

// open connects until ctx ends, to one gateway after the other, and resumes the session.
func (i *identity) open(ctx context.Context, room *clientv1.RoomCursor) (*wire, error) {
	for {
		w, err := i.tryOpen(ctx, room)
		if err == nil {
			return w, nil
		}
		i.at = (i.at + 1) % len(i.gateways)
		if !pause(ctx, backoffLeast+time.Duration(i.random.Int64N(int64(backoffMost-backoffLeast)))) {
			return nil, errors.Join(ctx.Err(), err)
		}
	}
}

func (i *identity) tryOpen(ctx context.Context, room *clientv1.RoomCursor) (_ *wire, err error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	w := &wire{gateway: i.gateways[i.at], codec: i.codec}
	socket, response, err := websocket.Dial(ctx, w.gateway.URL, &websocket.DialOptions{Subprotocols: []string{i.codec.Subprotocol()}})
	if response != nil && response.Body != nil {
		_ = response.Body.Close() // the handshake's answer has none
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = socket.CloseNow()
		}
	}()
	socket.SetReadLimit(4 << 20)
	w.socket = socket
	i.attempt = max(i.attempt+1, uint64(time.Now().UnixMilli()))
	hello := &clientv1.Hello{SessionToken: i.token, Attempt: i.attempt}
	if room != nil {
		hello.Rooms = []*clientv1.RoomCursor{room}
	}
	if err := w.send(ctx, &clientv1.Envelope{Kind: &clientv1.Envelope_Hello{Hello: hello}}); err != nil {
		return nil, err
	}
	first, err := w.read(ctx)
	if err != nil {
		i.refused(err)
		return nil, err
	}
	session := first.GetSession()
	if session == nil {
		return nil, fmt.Errorf("the first frame is no session but %v", first)
	}
	if i.token != "" && (!session.Resumed || session.MemberId != i.member) {
		i.record.Note("S3", "session of %s was not resumed at %s (resumed: %v): it is %s now", i.member, w.gateway.Name, session.Resumed, session.MemberId)
	}
	i.token, i.member = session.Token, session.MemberId
	return w, nil
}

// refused notices a close code that tells a client to stay away for good: nothing here gives a reason to.
func (i *identity) refused(err error) {
	if code := int(websocket.CloseStatus(err)); code >= 4500 {
		i.record.Note("protocol", "%s was sent away for good: %v", i.member, err)
	}
}

// pause waits for d or the end of ctx, which it reports as false.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
