-- compatible: 2
-- The client's number of the attempt that presented prev_hash: an earlier one may be carried out late. 0: not numbered.
ALTER TABLE session ADD COLUMN attempt INTEGER NOT NULL DEFAULT 0;
