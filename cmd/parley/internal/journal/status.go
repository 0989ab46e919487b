package journal

import (
	"context"
	"errors"
	"fmt"

	"github.com/parley-rt/parley/libs/persistence"
)

// Status is what an operator wants to know of a journal.
type Status struct {
	Journal       string       `json:"journal"` // the URL without passwords
	Backend       string       `json:"backend"`
	SchemaVersion int          `json:"schema_version"`
	Lanes         []Lane       `json:"lanes"`
	Partitions    []Partition  `json:"partitions"`
	Checkpoints   []Checkpoint `json:"checkpoints"`
}

// Lane is how far an ordering domain has come.
type Lane struct {
	Lane            int16  `json:"lane"`
	Position        uint64 `json:"position"`
	TrimmedPosition uint64 `json:"trimmed_position"`
}

// Partition is a part of the events that is dropped as a whole; Rows and Bytes are estimates.
type Partition struct {
	Partition int32 `json:"partition"`
	Rows      int64 `json:"rows"`
	Bytes     int64 `json:"bytes"`
	Current   bool  `json:"current"`
}

// Checkpoint is how far a consumer has come in a lane. Lag counts positions, which have holes: it is at least the number of
// events to come.
type Checkpoint struct {
	Consumer string `json:"consumer"`
	Lane     int16  `json:"lane"`
	Owner    string `json:"owner"`
	Position uint64 `json:"position"`
	Lag      uint64 `json:"lag"`
}

// SchemaVersion is the newest step that is applied; 0 for none.
func SchemaVersion(steps []persistence.MigrationStatus) (version int) {
	for _, s := range steps {
		if !s.AppliedAt.IsZero() {
			version = max(version, s.Version)
		}
	}
	return version
}

// ReadStatus reads the schema's version first, since a file is opened by one at a time.
func (l Location) ReadStatus(ctx context.Context) (Status, error) {
	steps, err := l.migrationStatus(ctx)
	if err != nil {
		return Status{}, err
	}
	s := Status{
		Journal: l.String(), Backend: l.Scheme(), SchemaVersion: SchemaVersion(steps),
		Lanes: []Lane{}, Partitions: []Partition{}, Checkpoints: []Checkpoint{},
	}
	b, err := l.OpenExisting(ctx, nil)
	if err != nil {
		return Status{}, err
	}
	err = s.read(ctx, b)
	if err := errors.Join(err, b.Close(context.WithoutCancel(ctx))); err != nil {
		return Status{}, fmt.Errorf("read the journal's status: %w", err)
	}
	return s, nil
}

func (l Location) migrationStatus(ctx context.Context) ([]persistence.MigrationStatus, error) {
	m, err := l.Migrator(ctx, false)
	if err != nil {
		return nil, err
	}
	steps, err := m.MigrationStatus(ctx)
	return steps, errors.Join(err, m.Close(context.WithoutCancel(ctx)))
}

// read asks for checkpoints before lanes, which only move on: a lag is never negative.
func (s *Status) read(ctx context.Context, b persistence.Backend) error {
	checkpoints, err := b.Checkpoints(ctx)
	if err != nil {
		return err
	}
	lanes, err := b.Lanes(ctx)
	if err != nil {
		return err
	}
	partitions, err := b.Partitions(ctx)
	if err != nil {
		return err
	}
	heads := map[int16]uint64{}
	for _, h := range lanes {
		heads[h.Lane] = h.Pos
		s.Lanes = append(s.Lanes, Lane{Lane: h.Lane, Position: h.Pos, TrimmedPosition: h.TrimPos})
	}
	for _, p := range partitions {
		s.Partitions = append(s.Partitions, Partition{Partition: p.Part, Rows: p.Rows, Bytes: p.Bytes, Current: p.Current})
	}
	for _, c := range checkpoints {
		s.Checkpoints = append(s.Checkpoints, Checkpoint{
			Consumer: c.Name, Lane: c.Lane, Owner: c.Owner, Position: c.Pos, Lag: heads[c.Lane] - min(c.Pos, heads[c.Lane]),
		})
	}
	return nil
}
