// Package durability kills the built binary, and its Postgres, under load and checks what its clients were promised.
package durability

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/parley-rt/parley/e2e/history"
)

// frame is what these clients read of a server frame.
type frame struct {
	Session *struct {
		Token    string `json:"token"`
		MemberID string `json:"member_id"`
		Resumed  bool   `json:"resumed"`
	} `json:"session"`
	RoomJoined *struct {
		Seq         uint64 `json:"seq,string"`
		Incarnation uint64 `json:"incarnation,string"`
		Recovered   bool   `json:"recovered"`
	} `json:"room_joined"`
	Message     *message     `json:"message"`
	HistoryPage *historyPage `json:"history_page"`
	Ack         *struct {
		MessageID string `json:"message_id"`
		Seq       uint64 `json:"seq,string"`
	} `json:"ack"`
	Reconnect *struct{} `json:"reconnect"`
	Reset     *struct {
		Seq    uint64 `json:"seq,string"`
		Reason string `json:"reason"`
	} `json:"reset"`
	Error *struct {
		Code      string `json:"code"`
		Message   string `json:"message"`
		Retryable bool   `json:"retryable"`
		MessageID string `json:"message_id"`
	} `json:"error"`
}

type message struct {
	Content   string `json:"content"`
	MessageID string `json:"message_id"`
	Sender    string `json:"sender"`
	Seq       uint64 `json:"seq,string"`
	PrevSeq   uint64 `json:"prev_seq,string"`
}

func (m message) entry() history.Entry {
	return history.Entry{Seq: m.Seq, Prev: m.PrevSeq, ID: m.MessageID, Sender: m.Sender, Content: m.Content}
}

type historyPage struct {
	Messages []message `json:"messages"`
	More     bool      `json:"more"`
}

// session is the part of a raw client that survives its connections.
type session struct {
	url, token, member string
	h                  *history.Recorder
	// opened counts its connections.
	opened atomic.Int64
}

// open connects until ctx ends, presents the session's token with the cursor, and returns the socket. A session once
// given must be resumed: a new member's resend would be a second message.
func (s *session) open(ctx context.Context, cursor string) (*websocket.Conn, error) {
	for {
		socket, err := s.tryOpen(ctx, cursor)
		if err == nil {
			return socket, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *session) tryOpen(ctx context.Context, cursor string) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	socket, response, err := websocket.Dial(ctx, s.url, nil)
	if response != nil && response.Body != nil {
		_ = response.Body.Close()
	}
	if err != nil {
		return nil, err
	}
	socket.SetReadLimit(4 << 20)
	hello := fmt.Sprintf(`{"hello":{"session_token":%q,"rooms":[{"room_id":%q%s}]}}`, s.token, s.h.Room(), cursor)
	if err := socket.Write(ctx, websocket.MessageText, []byte(hello)); err != nil {
		_ = socket.CloseNow()
		return nil, err
	}
	first, err := readFrame(ctx, socket)
	switch {
	case err != nil:
	case first.Reconnect != nil: // a server that drains may say so before session
		err = errors.New("sent away before session")
	case first.Session == nil:
		err = errors.New("first frame is not session")
		s.h.Note("protocol", "the first frame is not session")
	}
	if err != nil {
		_ = socket.CloseNow()
		return nil, err
	}
	if s.token != "" && (!first.Session.Resumed || first.Session.MemberID != s.member) {
		s.h.Note("S3", "session of %s was not resumed: it is %s now", s.member, first.Session.MemberID)
	}
	s.token, s.member = first.Session.Token, first.Session.MemberID
	s.opened.Add(1)
	return socket, nil
}

func readFrame(ctx context.Context, socket *websocket.Conn) (frame, error) {
	_, text, err := socket.Read(ctx)
	if err != nil {
		return frame{}, err
	}
	var f frame
	if err := json.Unmarshal(text, &f); err != nil {
		return frame{}, fmt.Errorf("frame %.200q: %w", text, err)
	}
	return f, nil
}
