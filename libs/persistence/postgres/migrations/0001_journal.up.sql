-- A lane is an ordering domain: every transaction that appends or claims holds its lane's row until it has committed, so
-- positions become visible in their order. The row is rewritten by every commit, hence the room in its page.
CREATE TABLE journal_lane (
  lane     smallint PRIMARY KEY,
  pos      bigint NOT NULL DEFAULT 0,    -- the last position given
  part     int    NOT NULL DEFAULT 0,    -- the partition that new events go to; the same in all lanes
  trim_pos bigint NOT NULL DEFAULT 0     -- events up to here may have gone with a dropped partition
) WITH (fillfactor = 10);
INSERT INTO journal_lane (lane) VALUES (0), (1), (2), (3);

-- The head row: fence (epoch), optimistic concurrency (last_seq) and recovery pointers.
CREATE TABLE journal_stream (
  stream_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  epoch       bigint NOT NULL DEFAULT 1,
  last_seq    bigint NOT NULL DEFAULT 0,
  snap_seq    bigint NOT NULL DEFAULT 0,
  trim_seq    bigint NOT NULL DEFAULT 0,                 -- events up to here may be gone
  incarnation bigint NOT NULL,
  claim_pos   bigint NOT NULL,                           -- position of the newest claim in its lane
  claimed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  snap_part   int NOT NULL DEFAULT 0,                    -- partition that holds snap_seq: recovery looks at no older one
  last_part   int NOT NULL DEFAULT 0,                    -- partition that holds last_seq
  lane        smallint NOT NULL,                         -- chosen at creation, for good
  stream_key  text COLLATE "C" NOT NULL UNIQUE,
  owner       text COLLATE "C" NOT NULL DEFAULT '',      -- '' when released
  prev_owner  text COLLATE "C" NOT NULL DEFAULT '',      -- owner before the newest claim
  CHECK (trim_seq <= snap_seq AND snap_seq <= last_seq)
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX journal_stream_claim ON journal_stream (lane, claim_pos);

-- No unique index over message_id: it costs as much as the append itself, and the fenced writer's own window does the same.
CREATE TABLE journal_event (
  stream_id  bigint NOT NULL,
  seq        bigint NOT NULL,
  pos        bigint NOT NULL,
  epoch      bigint NOT NULL,
  at         timestamptz NOT NULL DEFAULT statement_timestamp(), -- information only, never an order or a cursor
  part       int NOT NULL,
  lane       smallint NOT NULL,
  codec      smallint NOT NULL,
  message_id uuid NOT NULL,
  manifest   text COLLATE "C" NOT NULL,
  meta       bytea,                                      -- NULL when empty
  payload    bytea NOT NULL
) PARTITION BY RANGE (part);
ALTER TABLE journal_event ALTER payload SET STORAGE EXTERNAL;    -- no server CPU for compressing what is compressed
ALTER TABLE journal_event ADD PRIMARY KEY (stream_id, seq, part);
CREATE UNIQUE INDEX journal_event_pos ON journal_event (lane, pos, part);
CREATE TABLE journal_event_p0 PARTITION OF journal_event FOR VALUES FROM (0) TO (1);

CREATE TABLE journal_snapshot (
  stream_id bigint NOT NULL,
  seq       bigint NOT NULL,
  epoch     bigint NOT NULL,
  at        timestamptz NOT NULL DEFAULT statement_timestamp(),
  codec     smallint NOT NULL,
  manifest  text COLLATE "C" NOT NULL,
  meta      bytea,
  payload   bytea NOT NULL,
  PRIMARY KEY (stream_id, seq)
);
ALTER TABLE journal_snapshot ALTER payload SET STORAGE EXTERNAL;

-- A deleted checkpoint keeps its row, so that epochs go on rising and whoever held it stays fenced.
CREATE TABLE journal_checkpoint (
  name    text COLLATE "C" NOT NULL,
  lane    smallint NOT NULL,
  pos     bigint NOT NULL,
  epoch   bigint NOT NULL,
  owner   text COLLATE "C" NOT NULL,
  deleted boolean NOT NULL DEFAULT false,
  PRIMARY KEY (name, lane)
) WITH (fillfactor = 50);

CREATE TABLE session (
  id         uuid PRIMARY KEY,
  token_hash bytea NOT NULL,
  prev_hash  bytea,                                      -- the token that token_hash replaced; NULL in a session never resumed
  member     text COLLATE "C" NOT NULL,
  rooms      text[] COLLATE "C" NOT NULL,                -- sorted
  generation bigint NOT NULL,
  saver      bigint NOT NULL DEFAULT 0,                  -- the process that saved the rooms last …
  save_no    bigint NOT NULL DEFAULT 0,                  -- … and which of its saves that was: an older one may come late
  expires_at timestamptz NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX session_expiry ON session (expires_at);

CREATE TABLE lease (
  name       text COLLATE "C" PRIMARY KEY,
  owner      text COLLATE "C" NOT NULL,                  -- '' when released
  epoch      bigint NOT NULL,
  expires_at timestamptz NOT NULL
) WITH (fillfactor = 50);

