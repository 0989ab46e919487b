DROP TABLE lease;
DROP TABLE session;
DROP TABLE journal_probe;
DROP TABLE journal_snapshot;
DROP TABLE journal_event;
DROP TABLE journal_stream;
DROP TABLE journal_lane;
