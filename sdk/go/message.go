package parley

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

// Message is a stored message.
type Message struct {
	RoomID    string
	Sender    string
	Content   string
	MessageID string
	// Seq is the message's number in its room. Numbers rise but have holes; PrevSeq is that of the message before, 0 for none.
	Seq, PrevSeq uint64
	// SentAt is the publisher's clock: information, never an order.
	SentAt time.Time
	// Traceparent and Tracestate are the W3C trace context of the publisher.
	Traceparent, Tracestate string

	incarnation uint64
}

// Cursor returns the position right after the message, for JoinOptions.Cursor.
func (m Message) Cursor() Cursor {
	return Cursor{Seq: m.Seq, MessageID: m.MessageID, Incarnation: m.incarnation}
}

// Cursor is a position in a room: everything up to Seq has been seen. It may be stored, as JSON for example, and given to
// Join in another process. MessageID and Incarnation let the server notice that the position belongs to a lost history.
type Cursor struct {
	Seq         uint64 `json:"seq"`
	MessageID   string `json:"message_id,omitempty"`
	Incarnation uint64 `json:"incarnation,omitempty"`
}

// Ack says that a message is durable.
type Ack struct {
	RoomID    string
	MessageID string
	Seq       uint64
	// Duplicate tells that the message was stored by an earlier attempt. Programs treat both alike: a publish may be
	// confirmed by the room's own copy of the message, and an answer that comes later then confirms the next one of that id.
	Duplicate bool
}

// Signal is an ephemeral event: it is not stored, has no number and may be lost.
type Signal struct {
	RoomID  string
	Type    string
	Content string
	Sender  string
}

// MemberEvent says that a member came or went. Rooms send these only when their settings ask for it.
type MemberEvent struct {
	RoomID   string
	MemberID string
	Joined   bool
	// More others came, or went, at about the same time and are not named.
	More int
}

// Presence is who is online in a room.
type Presence struct {
	RoomID string
	// Count is the number of members; Members lists at most 1,000 of them.
	Count   int
	Members []PresentMember
}

// PresentMember is one member with the number of its connections.
type PresentMember struct {
	MemberID    string
	Connections int
}

// Page is a piece of a room's history, ascending.
type Page struct {
	Messages []Message
	// More tells that there is more in the direction asked for.
	More bool
}

func messageOf(m *clientv1.Message, room string, incarnation uint64) Message {
	return Message{
		RoomID:      room,
		Sender:      m.GetSender(),
		Content:     m.GetContent(),
		MessageID:   m.GetMessageId(),
		Seq:         m.GetSeq(),
		PrevSeq:     m.GetPrevSeq(),
		SentAt:      timeOf(m.GetSentAt()),
		Traceparent: m.GetTraceparent(),
		Tracestate:  m.GetTracestate(),
		incarnation: incarnation,
	}
}

func timeOf(ts *timestamppb.Timestamp) time.Time {
	if ts == nil {
		return time.Time{}
	}
	return ts.AsTime()
}
