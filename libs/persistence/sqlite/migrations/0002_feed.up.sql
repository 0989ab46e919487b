-- Which positions belong to which partition: those above after_pos, up to last_pos or, in the open segment, all that
-- follow. Positions rise with time and so do partitions, and events are stored by position: so dropping a partition needs
-- no index, and an append does not pay for one. A partition has several segments when positions jumped in it.
CREATE TABLE journal_segment (
  part      INTEGER NOT NULL,
  after_pos INTEGER NOT NULL,
  last_pos  INTEGER,                     -- NULL: open; there is one of these
  PRIMARY KEY (part, after_pos)
) WITHOUT ROWID;
INSERT INTO journal_segment (part, after_pos) SELECT part, 0 FROM journal_lane;

-- Consumers of the feed.
CREATE TABLE journal_checkpoint (
  name  TEXT NOT NULL,
  lane  INTEGER NOT NULL,
  pos   INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  owner TEXT NOT NULL,
  PRIMARY KEY (name, lane)
) WITHOUT ROWID;

-- Events up to trim_pos are gone for readers, rows up to purged_pos are gone for good. While the two differ, the trim_seq
-- of streams lags behind. A file from before this step may have lost what is below its first row.
ALTER TABLE journal_lane ADD COLUMN trim_pos INTEGER NOT NULL DEFAULT 0;
ALTER TABLE journal_lane ADD COLUMN purged_pos INTEGER NOT NULL DEFAULT 0;
UPDATE journal_lane SET trim_pos = ifnull((SELECT min(pos) - 1 FROM journal_event), pos);
UPDATE journal_lane SET purged_pos = trim_pos;
-- The last epoch given to a checkpoint, whichever: so epochs rise over a deletion as well.
ALTER TABLE journal_lane ADD COLUMN checkpoint_epoch INTEGER NOT NULL DEFAULT 0;
