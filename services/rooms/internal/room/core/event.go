package core

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"

	"github.com/parley-rt/parley/libs/persistence"
)

// Manifests of what the two streams store. They are part of the journal: never change one.
const (
	ManifestMessagePosted   = "parley.journal.v1.MessagePosted"
	ManifestRoomSnapshot    = "parley.journal.v1.RoomSnapshot"
	ManifestSessionJoined   = "parley.journal.v1.SessionJoined"
	ManifestSessionLeft     = "parley.journal.v1.SessionLeft"
	ManifestMembersSnapshot = "parley.journal.v1.MembersSnapshot"
)

func encode(manifest string, id [16]byte, m proto.Message) (persistence.Event, error) {
	payload, err := proto.Marshal(m)
	if err != nil {
		return persistence.Event{}, fmt.Errorf("encode %s: %w", manifest, err)
	}
	return persistence.Event{MessageID: id, Manifest: manifest, Codec: persistence.CodecProto, Payload: payload}, nil
}

func decode(what string, seq uint64, codec persistence.Codec, payload []byte, m proto.Message) error {
	if codec != persistence.CodecProto {
		return fmt.Errorf("%w: %s at seq %d has codec %d", ErrEvent, what, seq, codec)
	}
	if err := proto.Unmarshal(payload, m); err != nil {
		return fmt.Errorf("%w: %s at seq %d: %w", ErrEvent, what, seq, err)
	}
	return nil
}

// MessageOf decodes an event of a room's stream; nil without an error when it is not a message.
func MessageOf(e persistence.Event) (*roomv1.Message, error) {
	if e.Manifest != ManifestMessagePosted {
		return nil, nil
	}
	m, _, err := postedOf(e)
	return m, err
}

// postedOf decodes a message and, if a schedule published it, which firing it is.
func postedOf(e persistence.Event) (*roomv1.Message, *journalv1.Firing, error) {
	var posted journalv1.MessagePosted
	if err := decode(e.Manifest, e.Seq, e.Codec, e.Payload, &posted); err != nil {
		return nil, nil, err
	}
	return &roomv1.Message{
		Seq:         e.Seq,
		PrevSeq:     posted.PrevSeq,
		Sender:      posted.MemberId,
		MessageId:   posted.MessageId,
		Content:     posted.Content,
		SentAt:      posted.SentAt,
		Traceparent: posted.Traceparent,
		Tracestate:  posted.Tracestate,
	}, posted.Firing, nil
}
