-- compatible: 3
CREATE TABLE blocked_member (
  member   TEXT PRIMARY KEY,
  reason   TEXT NOT NULL,
  by       TEXT NOT NULL,
  at       INTEGER NOT NULL,
  until    INTEGER NOT NULL,                             -- 0: for good
  revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX blocked_member_revision ON blocked_member (revision);
CREATE TABLE block_revision (revision INTEGER NOT NULL) STRICT;
INSERT INTO block_revision VALUES (0);
