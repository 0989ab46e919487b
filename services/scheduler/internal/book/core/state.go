package core

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"

	"github.com/parley-rt/parley/libs/persistence"
)

const (
	// MaxShardBytes bounds what the schedules of a stream weigh, so that its snapshot stays below what one may weigh.
	MaxShardBytes = 900 << 10
	// runtimeWeight is what a record weighs beside its id and spec: history, times, numbers.
	runtimeWeight = 250
)

// State is one stream of the book as its writer knows it. Not safe for concurrent use.
type State struct {
	zones   *Zones
	entries map[string]*entry
	queue   queue
	weight  int
}

// NewState is a stream without events.
func NewState(zones *Zones) *State { return &State{zones: zones, entries: make(map[string]*entry)} }

// RestoreState decodes a snapshot.
func RestoreState(snap persistence.Snapshot, zones *Zones) (*State, error) {
	if snap.Manifest != ManifestSnapshot || snap.Codec != persistence.CodecProto {
		return nil, fmt.Errorf("%w: snapshot of kind %q, codec %d", ErrEvent, snap.Manifest, snap.Codec)
	}
	var stored journalv1.ScheduleShardSnapshot
	if err := proto.Unmarshal(snap.Payload, &stored); err != nil {
		return nil, fmt.Errorf("%w: snapshot: %w", ErrEvent, err)
	}
	s := NewState(zones)
	for _, r := range stored.Schedules {
		if s.entries[r.ScheduleId] != nil || r.Spec == nil {
			return nil, fmt.Errorf("%w: snapshot has schedule %q twice or without a spec", ErrEvent, r.ScheduleId)
		}
		s.insert(r)
	}
	return s, nil
}

// Snapshot encodes the state.
func (s *State) Snapshot() (persistence.Snapshot, error) {
	stored := &journalv1.ScheduleShardSnapshot{Schedules: make([]*journalv1.ScheduleRecord, 0, len(s.entries))}
	for _, id := range slices.Sorted(maps.Keys(s.entries)) {
		stored.Schedules = append(stored.Schedules, s.entries[id].record)
	}
	payload, err := proto.Marshal(stored)
	if err != nil {
		return persistence.Snapshot{}, fmt.Errorf("encode snapshot of schedules: %w", err)
	}
	return persistence.Snapshot{Codec: persistence.CodecProto, Manifest: ManifestSnapshot, Payload: payload}, nil
}

// Apply takes the next event, live or in replay.
func (s *State) Apply(e persistence.Event) error {
	if e.Manifest != ManifestEvent || e.Codec != persistence.CodecProto {
		return fmt.Errorf("%w: event of kind %q, codec %d at seq %d", ErrEvent, e.Manifest, e.Codec, e.Seq)
	}
	event := new(journalv1.ScheduleEvent)
	if err := proto.Unmarshal(e.Payload, event); err != nil {
		return fmt.Errorf("%w: event at seq %d: %w", ErrEvent, e.Seq, err)
	}
	if err := s.enter(event); err != nil {
		return fmt.Errorf("event at seq %d of schedule %q: %w", e.Seq, event.ScheduleId, err)
	}
	return nil
}

func (s *State) enter(event *journalv1.ScheduleEvent) error {
	known := s.entries[event.ScheduleId]
	created := event.GetCreated()
	switch {
	case created != nil && known == nil && created.Spec != nil:
		s.insert(createdRecord(event))
		return nil
	case created != nil || known == nil:
		return fmt.Errorf("%w: %T of a schedule that is there: %v", ErrEvent, event.Kind, known != nil)
	case event.GetForgotten() != nil:
		s.queue.place(known, 0)
		s.weight -= known.weight
		delete(s.entries, event.ScheduleId)
		return nil
	}
	if u := event.GetUpdated(); u != nil && u.Spec == nil {
		return fmt.Errorf("%w: change without a spec", ErrEvent)
	}
	if err := enact(known.record, event); err != nil {
		return err
	}
	if event.GetUpdated() != nil {
		s.weight -= known.weight
		known.weight = weigh(known.record.ScheduleId, known.record.Spec)
		s.weight += known.weight
	}
	s.queue.place(known, wake(known.record))
	return nil
}

func createdRecord(e *journalv1.ScheduleEvent) *journalv1.ScheduleRecord {
	c := e.GetCreated()
	return &journalv1.ScheduleRecord{ScheduleId: e.ScheduleId, Spec: c.Spec, CreatedAt: e.At, Request: c.Request, NextDue: c.NextDue}
}

func (s *State) insert(r *journalv1.ScheduleRecord) {
	e := &entry{record: r, weight: weigh(r.ScheduleId, r.Spec), index: -1}
	s.entries[r.ScheduleId] = e
	s.weight += e.weight
	s.queue.place(e, wake(r))
}

func weigh(id string, spec *journalv1.ScheduleSpec) int {
	return len(id) + proto.Size(spec) + runtimeWeight
}

// Len returns how many schedules there are, those that have ended included.
func (s *State) Len() int { return len(s.entries) }

// Get returns a schedule, nil if there is none. It must not be changed, and changes with the next Apply.
func (s *State) Get(id string) *journalv1.ScheduleRecord {
	if e := s.entries[id]; e != nil {
		return e.record
	}
	return nil
}

// All visits every schedule, in no order, until visit returns false. What it gets must not be changed.
func (s *State) All(visit func(*journalv1.ScheduleRecord) bool) {
	for _, e := range s.entries {
		if !visit(e.record) {
			return
		}
	}
}

// Wake returns the time at which something is to be done next; false: there is nothing.
func (s *State) Wake() (time.Time, bool) {
	if len(s.queue) == 0 {
		return time.Time{}, false
	}
	return time.UnixMilli(s.queue[0].wake), true
}

// Open lists the firings that are open, oldest first: whoever recovers the state sends them again.
func (s *State) Open() []Started {
	var open []Started
	for _, e := range s.entries {
		if e.record.Open != nil {
			open = append(open, startedOf(e.record))
		}
	}
	slices.SortFunc(open, func(a, b Started) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID)) })
	return open
}

// Started is a firing to be sent.
type Started struct {
	ID     string
	Number uint64
	Room   string
	Sender string
	// Content of the message.
	Content string
	Due     time.Time
	// Since is when it was started. From Until on it is given up.
	Since, Until time.Time
}

func startedOf(r *journalv1.ScheduleRecord) Started {
	spec := r.Spec
	if r.Open.Spec != nil {
		spec = r.Open.Spec
	}
	since := r.Open.At.AsTime()
	return Started{
		ID: r.ScheduleId, Number: r.Open.Started.Number, Room: spec.RoomId, Sender: Sender(r.ScheduleId, spec), Content: spec.Content,
		Due: r.Open.Started.Due.AsTime(), Since: since, Until: since.Add(RetryFor(spec)),
	}
}
