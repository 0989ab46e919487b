package postgres

import (
	"context"
	"fmt"
	"time"
)

// probeSQL appends an event to a stream of the lane that is nobody's: the whole way of a message, except its fence. The
// stream is kept trimmed, so it holds back no partition. $1 lane.
const probeSQL = `
WITH ln AS (UPDATE journal_lane SET pos = pos + 1 WHERE lane = $1 RETURNING pos, part),
s AS (
  INSERT INTO journal_stream AS s (stream_key, lane, incarnation, claim_pos, last_seq, snap_seq, trim_seq, snap_part, last_part)
  SELECT 'probe/' || $1::text, $1, 1, ln.pos, 1, 1, 1, ln.part, ln.part FROM ln
  ON CONFLICT (stream_key) DO UPDATE SET last_seq = s.last_seq + 1, snap_seq = s.last_seq + 1, trim_seq = s.last_seq + 1,
         snap_part = excluded.snap_part, last_part = excluded.last_part
  RETURNING stream_id, last_seq)
INSERT INTO journal_event (stream_id, seq, pos, epoch, part, lane, codec, message_id, manifest, payload)
SELECT s.stream_id, s.last_seq, ln.pos, 1, ln.part, $1, 0, '00000000-0000-0000-0000-000000000000', 'probe', '' FROM s, ln`

// fresh is how long a stored write proves that the journal takes writes.
const fresh = time.Second

// Ping proves that the journal takes writes: one was stored within the last second, or Ping stores one.
func (b *Backend) Ping(ctx context.Context) error {
	if err := b.open(ctx); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	if time.Since(time.Unix(0, b.written.Load())) < fresh && !b.breaker.open() {
		return nil
	}
	if err := b.urgent(ctx, b.storeProbe); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	b.recovered()
	return nil
}

func (b *Backend) storeProbe(ctx context.Context, c *conn) error {
	_, err := c.Exec(ctx, probeSQL, b.lanes.all[0].id)
	return err
}

// probe closes the breaker again: while it is open, it appends until one append is stored.
func (b *Backend) probe() {
	var s slot
	defer s.drop()
	for {
		select {
		case <-b.probing:
		case <-b.lifetime.Done():
			return
		}
		patience := firstAttempt
		for pause := firstPause; b.breaker.open(); pause = min(2*pause, lastPause) {
			err := b.trySingle(b.lifetime, &s, patience, b.storeProbe)
			patience = min(2*patience, lastAttempt)
			if err == nil {
				b.recovered()
				break
			}
			s.drop()
			select {
			case <-time.After(pause):
			case <-b.lifetime.Done():
				return
			}
		}
		s.drop()
	}
}

// tripped counts a failure to commit; true: the breaker is open.
func (b *Backend) tripped(err error) bool {
	if b.breaker.failed(err) {
		b.log.Error("journal refuses writes", "err", err)
		b.metrics.breaker(1)
		b.lanes.fail(b.breaker.refuses())
		select {
		case b.probing <- struct{}{}:
		default:
		}
	}
	return b.breaker.open()
}

// recovered notes that an event was stored; nothing less closes the breaker.
func (b *Backend) recovered() {
	b.written.Store(time.Now().UnixNano())
	if b.breaker.succeeded() {
		b.log.Info("journal takes writes again")
		b.metrics.breaker(-1)
	}
}
