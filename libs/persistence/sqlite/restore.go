package sqlite

import (
	"context"
	"fmt"

	"github.com/parley-rt/parley/libs/persistence"
)

// MarkRestored implements persistence.Maintenance. The writer does nothing else meanwhile, some microseconds for each stream.
func (b *Backend) MarkRestored(ctx context.Context) (streams int64, err error) {
	m := &restoreMutation{}
	if err := b.submit(ctx, &request{mutation: m, events: 1}); err != nil {
		return 0, fmt.Errorf("mark the journal as restored: %w", err)
	}
	return m.streams, nil
}

type restoreMutation struct{ streams int64 }

// apply also moves the claim numbers: so every stream is listed to whoever asks with a mark of before.
func (m *restoreMutation) apply(w *writer) error {
	if err := w.newSegment(w.part, w.pos+persistence.RestoreGap); err != nil {
		return err
	}
	w.pos += persistence.RestoreGap
	w.claims += persistence.RestoreGap
	if err := w.conn.Exec(fmt.Sprintf(`
		UPDATE journal_lane SET pos = %[1]d, checkpoint_epoch = checkpoint_epoch + %[2]d;
		UPDATE journal_checkpoint SET epoch = epoch + %[2]d;
		UPDATE lease SET owner = '', epoch = epoch + %[2]d, expires_at = 0;
		INSERT INTO sqlite_sequence (name, seq)
			SELECT 'journal_stream', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'journal_stream');
		UPDATE sqlite_sequence SET seq = seq + %[2]d WHERE name = 'journal_stream';
		UPDATE journal_stream SET epoch = epoch + %[2]d, owner = '', claim_no = claim_no + %[2]d,
			incarnation = (random() & 9223372036854775807) | 1;`, w.pos, persistence.RestoreGap)); err != nil {
		return err
	}
	m.streams = w.conn.Changes()
	return nil
}
