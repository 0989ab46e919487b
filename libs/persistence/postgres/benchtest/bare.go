package benchtest

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence/postgres/internal/pgarray"
)

// bareSQL stores events and checks nothing. $1 the lane, $2 the position before the first; per event: stream, seq, epoch,
// and what is stored.
const bareSQL = `
INSERT INTO journal_event (stream_id, seq, pos, epoch, part, lane, codec, message_id, manifest, meta, payload)
SELECT e.sid, e.seq, $2::bigint + e.ord, e.ep, 0, $1::smallint, e.codec, e.mid, e.man, e.meta, e.pl
  FROM (SELECT unnest($3::bigint[]) AS sid, unnest($4::bigint[]) AS seq, unnest($5::bigint[]) AS ep, unnest($6::smallint[]) AS codec,
               unnest($7::uuid[]) AS mid, unnest($8::text[]) AS man, unnest($9::bytea[]) AS meta, unnest($10::bytea[]) AS pl,
               generate_subscripts($3::bigint[], 1) AS ord) e`

// Bare is group commit by INSERT: the limit of what a journal can do with that table. It must have its schema for itself.
type Bare struct{ writers []*bareWriter }

type bareWriter struct {
	group  *group
	conn   *pgx.Conn
	arrays [8]*pgarray.Array
	params [10][]byte
	pos    uint64
}

// NewBare opens that many connections, each with a queue of its own. They are closed with the test.
func NewBare(tb testing.TB, url string, writers int) *Bare {
	tb.Helper()
	b := &Bare{}
	for lane := range writers {
		w := &bareWriter{conn: connect(tb, url)}
		for i, oid := range []uint32{
			pgarray.OIDInt8, pgarray.OIDInt8, pgarray.OIDInt8, pgarray.OIDInt2, pgarray.OIDUUID, pgarray.OIDText, pgarray.OIDBytea, pgarray.OIDBytea,
		} {
			w.arrays[i] = pgarray.New(oid)
		}
		w.params[0] = binary.BigEndian.AppendUint16(nil, uint16(lane))
		_, err := w.conn.Prepare(tb.Context(), "bare", bareSQL)
		require.NoError(tb, err)
		w.group = newGroup(w.store)
		b.writers = append(b.writers, w)
	}
	tb.Cleanup(func() {
		for _, w := range b.writers {
			w.group.close()
		}
	})
	return b
}

// Append stores the events of r and returns when they are durable.
func (b *Bare) Append(r *Request) error {
	return b.writers[r.Stream%int64(len(b.writers))].group.append(r)
}

func (w *bareWriter) store(batch []*Request) error {
	for _, a := range w.arrays {
		a.Reset()
	}
	w.params[1] = binary.BigEndian.AppendUint64(w.params[1][:0], w.pos)
	for _, r := range batch {
		for i := range r.Events {
			e := &r.Events[i]
			w.pos++
			w.arrays[0].Int64(r.Stream)
			w.arrays[1].Int64(int64(r.Seq) + int64(i))
			w.arrays[2].Int64(1)
			w.arrays[3].Int16(int16(e.Codec))
			w.arrays[4].Bytes(e.MessageID[:])
			w.arrays[5].Text(e.Manifest)
			w.arrays[6].Null()
			w.arrays[7].Bytes(e.Payload)
		}
	}
	for i, a := range w.arrays {
		w.params[2+i] = a.Encoded()
	}
	return w.conn.PgConn().ExecPrepared(context.Background(), "bare", w.params[:], []int16{1}, nil).Read().Err
}

func connect(tb testing.TB, url string) *pgx.Conn {
	tb.Helper()
	c, err := pgx.Connect(tb.Context(), url)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}
