-- Rows of dropped partitions would come back without trim_pos.
UPDATE journal_stream SET trim_seq = max(trim_seq, gone.seq), purged_seq = max(purged_seq, gone.seq)
  FROM (SELECT stream_id, max(seq) AS seq FROM journal_event
    WHERE pos <= (SELECT trim_pos FROM journal_lane) GROUP BY stream_id) AS gone
  WHERE gone.stream_id = journal_stream.stream_id;
DELETE FROM journal_event WHERE pos <= (SELECT trim_pos FROM journal_lane);
-- The last position given must not be given again.
UPDATE journal_lane SET pos = max(pos, trim_pos);
ALTER TABLE journal_lane DROP COLUMN checkpoint_epoch;
ALTER TABLE journal_lane DROP COLUMN purged_pos;
ALTER TABLE journal_lane DROP COLUMN trim_pos;
DROP TABLE journal_checkpoint;
DROP TABLE journal_segment;
