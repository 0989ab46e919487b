-- One lane: every stream is ordered by the one writer. pos is a floor for the next position, written when rows that
-- carried positions are deleted; otherwise the newest event has the last one given. So no position is given twice, and an
-- append does not pay for a counter.
CREATE TABLE journal_lane (
  lane INTEGER PRIMARY KEY,
  pos  INTEGER NOT NULL,
  part INTEGER NOT NULL
);
INSERT INTO journal_lane (lane, pos, part) VALUES (0, 0, 0);

-- The head row: fence (epoch), optimistic concurrency (last_seq) and recovery pointers.
-- Events up to trim_seq are gone for readers; rows up to purged_seq are gone for good.
CREATE TABLE journal_stream (
  stream_id   INTEGER PRIMARY KEY AUTOINCREMENT,
  epoch       INTEGER NOT NULL,
  last_seq    INTEGER NOT NULL,
  snap_seq    INTEGER NOT NULL,
  trim_seq    INTEGER NOT NULL,
  purged_seq  INTEGER NOT NULL,
  incarnation INTEGER NOT NULL,
  claim_no    INTEGER NOT NULL,          -- rises over all streams; the row of the newest claim has the last one given
  claimed_at  INTEGER NOT NULL,          -- Unix nanoseconds, as all times here
  lane        INTEGER NOT NULL,
  stream_key  TEXT NOT NULL UNIQUE,
  owner       TEXT NOT NULL,             -- '' when released
  CHECK (purged_seq <= trim_seq AND trim_seq <= snap_seq AND snap_seq <= last_seq)
);
CREATE UNIQUE INDEX journal_stream_claim ON journal_stream (claim_no);
CREATE INDEX journal_stream_purge ON journal_stream (stream_id) WHERE trim_seq > purged_seq;

-- The position is the row id: events are appended to the end of the table, whatever their streams. Clustering them by
-- stream instead would dirty one page per stream and commit, which costs three times as much.
CREATE TABLE journal_event (
  pos        INTEGER PRIMARY KEY,
  stream_id  INTEGER NOT NULL,
  seq        INTEGER NOT NULL,
  epoch      INTEGER NOT NULL,
  at         INTEGER NOT NULL,           -- information only, never an order or a cursor
  lane       INTEGER NOT NULL,
  part       INTEGER NOT NULL,
  codec      INTEGER NOT NULL,
  message_id BLOB NOT NULL,
  manifest   TEXT NOT NULL,
  meta       BLOB,                       -- NULL when empty
  payload    BLOB NOT NULL
);
CREATE UNIQUE INDEX journal_event_seq ON journal_event (stream_id, seq);

CREATE TABLE journal_snapshot (
  stream_id INTEGER NOT NULL,
  seq       INTEGER NOT NULL,
  epoch     INTEGER NOT NULL,
  at        INTEGER NOT NULL,
  codec     INTEGER NOT NULL,
  manifest  TEXT NOT NULL,
  meta      BLOB,
  payload   BLOB NOT NULL,
  PRIMARY KEY (stream_id, seq)
);

-- One row that Ping rewrites: a read would succeed on a full disk, too.
CREATE TABLE journal_probe (
  id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL
);

CREATE TABLE session (
  id         BLOB PRIMARY KEY,
  token_hash BLOB NOT NULL,
  prev_hash  BLOB,                       -- the token that token_hash replaced; NULL in a session never resumed
  member     TEXT NOT NULL,
  rooms      BLOB NOT NULL,              -- sorted: length (uvarint) and bytes of each
  generation INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX session_expiry ON session (expires_at);

CREATE TABLE lease (
  name       TEXT PRIMARY KEY,
  owner      TEXT NOT NULL,              -- '' when released
  epoch      INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) WITHOUT ROWID;
