-- compatible: 2
CREATE TABLE blocked_member (
  member   text COLLATE "C" PRIMARY KEY,
  reason   text NOT NULL,
  by       text NOT NULL,
  at       timestamptz NOT NULL,
  until    timestamptz,                                  -- NULL: for good
  revision bigint NOT NULL
);
CREATE UNIQUE INDEX blocked_member_revision ON blocked_member (revision);
-- One row, locked by whoever blocks: revisions are committed in their order.
CREATE TABLE block_revision (revision bigint NOT NULL) WITH (fillfactor = 50);
INSERT INTO block_revision VALUES (0);
