DROP TABLE lease, session, journal_checkpoint, journal_snapshot, journal_event, journal_stream, journal_lane;
