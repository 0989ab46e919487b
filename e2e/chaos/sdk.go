package chaos

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/parley-rt/parley/e2e/history"
	"github.com/parley-rt/parley/sdk/go"
)

// program is a member that uses the SDK as a program would: it publishes one message after the other, each until it is
// stored, and reads the room; everything else is the SDK's business.
type program struct {
	gateways []Gateway
	roomID   string
	record   *history.Recorder
	follower *history.Follower
	// producer is nil for members that only read.
	producer *history.Producer
	pace     time.Duration
	random   *rand.Rand
	quit     <-chan struct{}
	// published is closed when no publish is unanswered any more, after quit.
	published chan struct{}
}

// run lives until ctx ends.
func (p *program) run(ctx context.Context) {
	client, err := parley.Dial(ctx, "ws://gateways.invalid/ws", parley.Config{
		BackoffMin: backoffLeast, BackoffMax: time.Second, HandshakeTimeout: openTimeout,
		PingInterval: pingEvery, PingTimeout: silentAfter - pingEvery,
		HTTPClient: &http.Client{Transport: p.transport()},
	})
	if err != nil {
		if ctx.Err() == nil {
			p.record.Note("protocol", "the SDK could not connect: %v", err)
		}
		close(p.published)
		return
	}
	defer func() {
		_ = client.Close(ctx) // ctx has ended: it is cut
	}()
	oldest := uint64(0)
	room, err := client.Join(ctx, p.roomID, parley.JoinOptions{AfterSeq: &oldest})
	if err != nil {
		if ctx.Err() == nil {
			p.record.Note("protocol", "the SDK could not join: %v", err)
		}
		close(p.published)
		return
	}
	p.follower.Joined(&oldest, 0, true, 0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(p.published)
		p.publish(ctx, client, room)
	}()
	defer func() { <-done }()
	for message, err := range room.Messages(ctx) {
		var reset *parley.ResetError
		switch {
		case errors.As(err, &reset):
			p.follower.Reset(reset.Seq, string(reset.Reason))
		case err != nil:
			if ctx.Err() == nil {
				p.record.Note("protocol", "the SDK's stream ended: %v", err)
			}
		default:
			p.follower.Received(history.Entry{
				Seq: message.Seq, Prev: message.PrevSeq, ID: message.MessageID, Sender: message.Sender, Content: message.Content,
			})
		}
	}
}

// transport connects to one gateway after the other, whatever the address.
func (p *program) transport() *http.Transport {
	var next atomic.Int64
	next.Store(int64(p.random.IntN(len(p.gateways))))
	return &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			at, err := url.Parse(p.gateways[int(next.Add(1))%len(p.gateways)].URL)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, at.Host)
		},
	}
}

func (p *program) publish(ctx context.Context, client *parley.Client, room *parley.Room) {
	if p.producer == nil {
		return
	}
	p.producer.Connected("the SDK's choice")
	p.producer.Sender(client.MemberID())
	for n := 1; ; n++ {
		select {
		case <-p.quit:
			return
		case <-time.After(p.pace/2 + time.Duration(p.random.Int64N(int64(p.pace)))):
		case <-ctx.Done():
			return
		}
		p.producer.Ask(n)
		id, content := p.producer.Message(n)
		ack, err := room.Publish(ctx, content, parley.PublishOptions{MessageID: id})
		var refusal *parley.Error
		switch {
		case err == nil:
			p.producer.Answer(id, history.Stored, ack.Seq, "")
		case errors.As(err, &refusal) && !refusal.Retryable:
			p.producer.Answer(id, history.RefusedForGood, 0, string(refusal.Code))
			p.record.Note("protocol", "the SDK's publish of %q was refused for good: %v", id, err)
		case ctx.Err() == nil:
			p.record.Note("L1", "the SDK gave up on %q: %v", id, err)
		}
	}
}
