package benchtest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

// Singles inserts every event in a transaction of its own, over a number of connections. It must have its schema for
// itself.
type Singles struct{ idle chan *pgx.Conn }

const singleSQL = `
INSERT INTO journal_event (stream_id, seq, pos, epoch, part, lane, codec, message_id, manifest, meta, payload)
VALUES ($1, $2, $3, 1, 0, 0, $4, $5, $6, $7, $8)`

// NewSingles opens that many connections. They are closed with the test.
func NewSingles(tb testing.TB, url string, connections int) *Singles {
	tb.Helper()
	s := &Singles{idle: make(chan *pgx.Conn, connections)}
	for range connections {
		c := connect(tb, url)
		_, err := c.Prepare(tb.Context(), "single", singleSQL)
		require.NoError(tb, err)
		s.idle <- c
	}
	return s
}

// Append stores one event, at a position that nobody else has.
func (s *Singles) Append(stream int64, seq, pos uint64, e *persistence.Event) error {
	c := <-s.idle
	defer func() { s.idle <- c }()
	_, err := c.Exec(context.Background(), "single", stream, int64(seq), int64(pos), int16(e.Codec), e.MessageID, e.Manifest, e.Meta, e.Payload)
	return err
}
