DROP TABLE lease, session, journal_checkpoint, journal_snapshot, journal_event, journal_stream, journal_lane;
-- Partitions that were detached and not yet dropped: a journal that begins anew here would take them for its own.
DO $$
DECLARE name text;
BEGIN
  FOR name IN SELECT relname FROM pg_class
    WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace AND relname ~ '^journal_event_p[0-9]+$'
  LOOP
    EXECUTE format('DROP TABLE %I', name);
  END LOOP;
END $$;
