package core

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"

	"github.com/parley-rt/parley/libs/persistence"
)

// State is a room's stream as its writer knows it. Its life:
//
//	NewState or RestoreState → Apply (replay) … → Backfill … → Live → Apply (as batches commit) …
type State struct {
	// Where the state began: the snapshot's seq. Backfill reads back from there.
	base        uint64
	head        uint64
	lastMessage uint64
	// What readers do not get any more, and what the stream itself does not hold any more. The second is never above the
	// first: the newest ids are read back from the stream.
	trimmed, stored uint64
	rights          rights
	firings         firings
	window          *Window
	tail            Tail

	live bool
	sure recent
	// Messages applied since TakeFresh; only while live.
	fresh []*roomv1.Message
	// What the last draft decided, so that Apply need not decode what this process has just encoded.
	drafted []drafted
}

type drafted struct {
	id      [16]byte
	message *roomv1.Message
	firing  *journalv1.Firing
}

// NewState is the state of a room without events. windowMax bounds the dedupe window; 0 means WindowMax.
func NewState(c persistence.Claim, windowMax int) *State {
	return &State{trimmed: c.TrimSeq, stored: c.TrimSeq, rights: newRights(), window: NewWindow(windowMax)}
}

// RestoreState decodes a snapshot. The window and the tail are empty then: see Backfill.
func RestoreState(c persistence.Claim, snap persistence.Snapshot, windowMax int) (*State, error) {
	if snap.Manifest != ManifestRoomSnapshot {
		return nil, fmt.Errorf("%w: snapshot of kind %q", ErrEvent, snap.Manifest)
	}
	var stored journalv1.RoomSnapshot
	if err := decode(snap.Manifest, snap.Seq, snap.Codec, snap.Payload, &stored); err != nil {
		return nil, err
	}
	s := NewState(c, windowMax)
	s.base, s.head, s.lastMessage = snap.Seq, snap.Seq, stored.LastMessageSeq
	s.tail.floor = stored.LastMessageSeq
	s.Raise(stored.Trimmed)
	if err := s.rights.restore(&stored); err != nil {
		return nil, fmt.Errorf("snapshot at seq %d: %w", snap.Seq, err)
	}
	if err := s.firings.restore(stored.Firings); err != nil {
		return nil, fmt.Errorf("snapshot at seq %d: %w", snap.Seq, err)
	}
	return s, nil
}

// Base returns the seq of the snapshot that the state was restored from: Backfill wants the events up to it.
func (s *State) Base() uint64 { return s.base }

// Head returns the seq of the newest event.
func (s *State) Head() uint64 { return s.head }

// LastMessage returns the seq of the newest message; 0: none.
func (s *State) LastMessage() uint64 { return s.lastMessage }

// Trimmed returns the seq up to which messages are gone.
func (s *State) Trimmed() uint64 { return s.trimmed }

// Stored returns the seq up to which the stream held no events any more when it was claimed.
func (s *State) Stored() uint64 { return s.stored }

// Tail returns the newest messages. It must not be changed.
func (s *State) Tail() *Tail { return &s.tail }

// WindowLen returns the number of ids in the dedupe window.
func (s *State) WindowLen() int { return s.window.Len() }

// Raise notes that messages up to trimmed are gone.
func (s *State) Raise(trimmed uint64) { s.trimmed = max(s.trimmed, min(trimmed, s.head)) }

// Expire forgets ids, bans, mutes and schedules that are too old at now. A room that is published to forgets ids by itself.
func (s *State) Expire(now time.Time) {
	s.window.Expire(now)
	s.rights.prune(now)
	s.firings.expire(now)
}

// Apply takes the next event, live or in replay. Events of kinds this version does not know are refused: a writer that
// skipped them could decide against them.
func (s *State) Apply(e persistence.Event) error {
	if e.Seq != s.head+1 {
		return fmt.Errorf("%w: event at seq %d follows %d", ErrEvent, e.Seq, s.head)
	}
	if e.Manifest == ManifestMessagePosted {
		if err := s.applyMessage(e); err != nil {
			return err
		}
	} else {
		event, err := ruling(e)
		switch {
		case err != nil:
			return err
		case event == nil:
			return fmt.Errorf("%w: event of kind %q at seq %d", ErrEvent, e.Manifest, e.Seq)
		}
		enact(&s.rights, e.Seq, event)
		if changed, ok := event.(*journalv1.SettingsChanged); ok {
			s.Raise(changed.Trimmed)
		}
	}
	s.head = e.Seq
	s.window.Add(e.MessageID, e.Seq, e.At)
	if !s.live {
		s.sure.newer(e)
	}
	if kept := s.rights.set.GetRetentionCount(); kept > 0 && s.head > kept {
		s.Raise(s.head - kept)
	}
	return nil
}

func (s *State) applyMessage(e persistence.Event) error {
	m, firing := s.takeDrafted(e)
	if m == nil {
		var err error
		if m, firing, err = postedOf(e); err != nil {
			return err
		}
	}
	if m.PrevSeq != s.lastMessage {
		return fmt.Errorf("%w: message at seq %d follows message %d, expected %d", ErrEvent, e.Seq, m.PrevSeq, s.lastMessage)
	}
	s.lastMessage = e.Seq
	s.firings.apply(firing, e.Seq)
	s.tail.Append(m)
	if s.live {
		s.fresh = append(s.fresh, m)
	}
	return nil
}

func (s *State) takeDrafted(e persistence.Event) (*roomv1.Message, *journalv1.Firing) {
	if len(s.drafted) == 0 || s.drafted[0].id != e.MessageID || s.drafted[0].message.Seq != e.Seq {
		return nil, nil
	}
	m, firing := s.drafted[0].message, s.drafted[0].firing
	if s.drafted = s.drafted[1:]; len(s.drafted) == 0 {
		s.drafted = nil
	}
	return m, firing
}

// Backfill takes events from before the state's oldest, descending, as recovery reads them to rebuild the window and the
// tail. It reports false when older events are of no use any more: they are too old by the journal's times, and enough
// ids are remembered to do without those.
func (s *State) Backfill(events []persistence.Event) (bool, error) {
	keep := true
	for _, e := range events {
		more := s.sure.older(e)
		more = s.window.AddOlder(e.MessageID, e.Seq, e.At) || more
		if keep && e.Manifest == ManifestMessagePosted {
			m, err := MessageOf(e)
			if err != nil {
				return false, err
			}
			keep = s.tail.Prepend(m)
		}
		if !more {
			return false, nil
		}
	}
	return true, nil
}

// Live ends the recovery: from here on Apply gets events as they are committed.
func (s *State) Live(now time.Time) {
	s.window.Rebase(now)
	// Of a small window no more than a part: ids as young as these make no room for others.
	for _, r := range s.sure.newest(s.window.max / 4) {
		s.window.Renew(r.id, r.seq, now)
	}
	s.sure = recent{}
	s.live = true
}

// TakeFresh returns the messages applied since the last call, ascending and contiguous.
func (s *State) TakeFresh() []*roomv1.Message {
	fresh := s.fresh
	s.fresh = nil
	return fresh
}

// Snapshot encodes the state. Neither window nor tail is in it: both are read back from the events.
func (s *State) Snapshot() (persistence.Snapshot, error) {
	stored := &journalv1.RoomSnapshot{LastMessageSeq: s.lastMessage, Trimmed: s.trimmed}
	s.rights.save(stored)
	s.firings.save(stored)
	payload, err := proto.Marshal(stored)
	if err != nil {
		return persistence.Snapshot{}, fmt.Errorf("encode room snapshot: %w", err)
	}
	return persistence.Snapshot{Codec: persistence.CodecProto, Manifest: ManifestRoomSnapshot, Payload: payload}, nil
}
