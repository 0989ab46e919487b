package benchtest

import (
	"encoding/binary"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// Raw is group commit to a bare file: one write and one sync for each group.
type Raw struct{ group *group }

// NewRaw creates the file. It is closed with the test.
func NewRaw(tb testing.TB, name string) *Raw {
	tb.Helper()
	file, err := os.Create(name)
	require.NoError(tb, err)
	var out []byte
	r := &Raw{group: newGroup(func(batch []*Request) error {
		out = out[:0]
		for _, q := range batch {
			for i := range q.Events {
				e := &q.Events[i]
				out = binary.AppendVarint(out, q.Stream)
				out = binary.AppendUvarint(out, q.Seq+uint64(i))
				out = append(out, e.MessageID[:]...)
				out = append(out, e.Manifest...)
				out = append(out, e.Payload...)
			}
		}
		if _, err := file.Write(out); err != nil {
			return err
		}
		return datasync(file)
	})}
	tb.Cleanup(func() {
		r.group.close()
		_ = file.Close()
	})
	return r
}

// Append stores the events of q and returns when they are durable.
func (r *Raw) Append(q *Request) error { return r.group.append(q) }
