package sqlite

import (
	"github.com/parley-rt/parley/libs/persistence/sqlite/internal/lite"
)

// headColumns end with the lane's trim_pos while rows up to it are still there, else 0: see head.settle.
const headColumns = `stream_id, epoch, incarnation, last_seq, snap_seq, trim_seq, owner, claimed_at, lane,
	(SELECT iif(purged_pos < trim_pos, trim_pos, 0) FROM journal_lane WHERE lane = 0)`

const eventPosition = `SELECT pos FROM journal_event WHERE stream_id = ?1 AND seq = ?2`

// writeStatements are the writer's.
type writeStatements struct {
	begin, commit, rollback *lite.Stmt
	saveLane                *lite.Stmt

	headByKey, headByID, eventPosition *lite.Stmt
	createStream, claimStream          *lite.Stmt
	releaseStream, reincarnate         *lite.Stmt

	advance, insertEvent *lite.Stmt

	snapStream, insertSnapshot, dropSnapshots *lite.Stmt
	trimStream                                *lite.Stmt

	purgeState, purgeRows, purgeEvents, purged             *lite.Stmt
	purgeLimits, droppedRows, droppedTrims, droppedEvents  *lite.Stmt
	purgedLane                                             *lite.Stmt
	checkpoint, claimCheckpoint, saveCheckpoint            *lite.Stmt
	checkpointEpoch, deleteCheckpoint, checkpointsBehind   *lite.Stmt
	closeSegment, openSegment, setPart, trimLane, dropPart *lite.Stmt

	probe *lite.Stmt

	createSession, resumeSession, sessionRooms *lite.Stmt
	sessionAlive, extendSession                *lite.Stmt
	expiredSessions, deleteSession             *lite.Stmt

	lease, acquireLease, renewLease, releaseLease *lite.Stmt

	blockRevision, blockMember, unblockMember, endedBlocks *lite.Stmt

	all []*lite.Stmt
}

func prepareWrites(c *lite.Conn) (*writeStatements, error) {
	st := &writeStatements{}
	for _, s := range []struct {
		to  **lite.Stmt
		sql string
	}{
		{&st.begin, `BEGIN IMMEDIATE`},
		{&st.commit, `COMMIT`},
		{&st.rollback, `ROLLBACK`},
		{&st.saveLane, `UPDATE journal_lane SET pos = ?1 WHERE lane = 0`},

		{&st.headByKey, `SELECT ` + headColumns + ` FROM journal_stream WHERE stream_key = ?1`},
		{&st.headByID, `SELECT ` + headColumns + ` FROM journal_stream WHERE stream_id = ?1`},
		{&st.eventPosition, eventPosition},
		{&st.createStream, `INSERT INTO journal_stream (epoch, last_seq, snap_seq, trim_seq, purged_seq, lane,
			stream_key, owner, incarnation, claim_no, claimed_at) VALUES (1, 0, 0, 0, 0, 0, ?1, ?2, ?3, ?4, ?5)`},
		{&st.claimStream, `UPDATE journal_stream SET epoch = epoch + 1, owner = ?2, claim_no = ?3, claimed_at = ?4
			WHERE stream_id = ?1`},
		{&st.releaseStream, `UPDATE journal_stream SET owner = '' WHERE stream_id = ?1 AND epoch = ?2`},
		{&st.reincarnate, `UPDATE journal_stream SET incarnation = ?3 WHERE stream_id = ?1 AND epoch = ?2`},

		// An append: fence and optimistic check in one conditional update, then the rows.
		{&st.advance, `UPDATE journal_stream SET last_seq = last_seq + ?4
			WHERE stream_id = ?1 AND epoch = ?2 AND last_seq = ?3`},
		{&st.insertEvent, `INSERT INTO journal_event (pos, stream_id, seq, epoch, at, lane, part, codec,
			message_id, manifest, meta, payload) VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8, ?9, ?10, ?11)`},

		{&st.snapStream, `UPDATE journal_stream SET snap_seq = ?3
			WHERE stream_id = ?1 AND epoch = ?2 AND last_seq >= ?3 AND snap_seq < ?3`},
		{&st.insertSnapshot, `INSERT INTO journal_snapshot (stream_id, seq, epoch, at, codec, manifest, meta, payload)
			VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)`},
		{&st.dropSnapshots, `DELETE FROM journal_snapshot WHERE stream_id = ?1
			AND seq < (SELECT max(seq) FROM journal_snapshot WHERE stream_id = ?1 AND seq < ?2)`},
		{&st.trimStream, `UPDATE journal_stream SET trim_seq = max(trim_seq, ?3)
			WHERE stream_id = ?1 AND epoch = ?2 AND snap_seq >= ?3`},

		{&st.purgeLimits, `SELECT trim_pos, purged_pos, ifnull((SELECT min(c.pos) FROM journal_checkpoint AS c
			WHERE c.lane = journal_lane.lane), 9223372036854775807) FROM journal_lane WHERE lane = 0`},
		{&st.purgeState, `SELECT purged_seq, trim_seq FROM journal_stream WHERE stream_id = ?1`},
		{&st.purgeRows, `SELECT seq, pos, length(payload) FROM journal_event
			WHERE stream_id = ?1 AND seq <= ?2 ORDER BY seq`},
		{&st.purgeEvents, `DELETE FROM journal_event WHERE stream_id = ?1 AND seq <= ?2`},
		{&st.purged, `UPDATE journal_stream SET purged_seq = ?2 WHERE stream_id = ?1`},
		{&st.droppedRows, `SELECT pos, length(payload) FROM journal_event WHERE pos <= ?1 ORDER BY pos`},
		{&st.droppedTrims, `UPDATE journal_stream SET trim_seq = max(trim_seq, gone.seq), purged_seq = max(purged_seq, gone.seq)
			FROM (SELECT stream_id, max(seq) AS seq FROM journal_event WHERE pos <= ?1 GROUP BY stream_id) AS gone
			WHERE gone.stream_id = journal_stream.stream_id`},
		{&st.droppedEvents, `DELETE FROM journal_event WHERE pos <= ?1`},
		{&st.purgedLane, `UPDATE journal_lane SET purged_pos = ?1 WHERE lane = 0`},

		{&st.checkpoint, `SELECT pos, epoch, owner FROM journal_checkpoint WHERE name = ?1 AND lane = ?2`},
		{&st.checkpointEpoch, `UPDATE journal_lane SET checkpoint_epoch = checkpoint_epoch + 1 WHERE lane = ?1
			RETURNING checkpoint_epoch, trim_pos`},
		{&st.claimCheckpoint, `INSERT INTO journal_checkpoint (name, lane, pos, epoch, owner) VALUES (?1, ?2, ?3, ?4, ?5)
			ON CONFLICT (name, lane) DO UPDATE SET epoch = excluded.epoch, owner = excluded.owner RETURNING pos`},
		{&st.saveCheckpoint, `UPDATE journal_checkpoint SET pos = ?4
			WHERE name = ?1 AND lane = ?2 AND epoch = ?3 AND pos <= ?4`},
		{&st.deleteCheckpoint, `DELETE FROM journal_checkpoint WHERE name = ?1`},
		{&st.checkpointsBehind, `SELECT DISTINCT name FROM journal_checkpoint WHERE pos < ?1 ORDER BY name`},

		{&st.closeSegment, `UPDATE journal_segment SET last_pos = ?1 WHERE last_pos IS NULL`},
		{&st.openSegment, `INSERT INTO journal_segment (part, after_pos) VALUES (?1, ?2)`},
		{&st.setPart, `UPDATE journal_lane SET part = ?1 WHERE lane = 0`},
		{&st.trimLane, `UPDATE journal_lane SET trim_pos = max(trim_pos, ?1) WHERE lane = 0`},
		{&st.dropPart, `DELETE FROM journal_segment WHERE part = ?1`},

		{&st.probe, `INSERT INTO journal_probe (id, at) VALUES (0, ?1)
			ON CONFLICT (id) DO UPDATE SET at = max(at + 1, excluded.at)`},

		{&st.createSession, `INSERT INTO session (id, token_hash, member, rooms, generation, expires_at)
			VALUES (?1, ?2, ?3, ?4, 1, ?5) ON CONFLICT (id) DO NOTHING`},
		{&st.resumeSession, `UPDATE session SET token_hash = ?3, prev_hash = ?2, generation = generation + 1, expires_at = ?5,
			attempt = ?6
			WHERE id = ?1 AND (token_hash = ?2 OR prev_hash = ?2 AND (?6 = 0 OR ?6 > attempt)) AND expires_at > ?4
			RETURNING member, rooms, generation`},
		{&st.sessionRooms, `UPDATE session SET rooms = ?3, expires_at = ?5
			WHERE id = ?1 AND generation = ?2 AND expires_at > ?4`},
		{&st.sessionAlive, `SELECT 1 FROM session WHERE id = ?1 AND expires_at > ?2`},
		{&st.extendSession, `UPDATE session SET expires_at = max(expires_at, ?3) WHERE id = ?1 AND expires_at > ?2`},
		{&st.expiredSessions, `SELECT id, member, rooms, generation, expires_at FROM session
			WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2`},
		{&st.deleteSession, `DELETE FROM session WHERE id = ?1`},

		{&st.lease, `SELECT owner, epoch, expires_at FROM lease WHERE name = ?1`},
		{&st.acquireLease, `INSERT INTO lease (name, owner, epoch, expires_at) VALUES (?1, ?2, ?3, ?4)
			ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, epoch = excluded.epoch, expires_at = excluded.expires_at`},
		{&st.renewLease, `UPDATE lease SET expires_at = ?4 WHERE name = ?1 AND owner = ?2 AND epoch = ?3`},
		{&st.releaseLease, `UPDATE lease SET owner = '', expires_at = 0 WHERE name = ?1 AND owner = ?2 AND epoch = ?3`},

		{&st.blockRevision, `UPDATE block_revision SET revision = revision + 1 RETURNING revision`},
		{&st.blockMember, `INSERT INTO blocked_member (member, reason, by, at, until, revision) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
			ON CONFLICT (member) DO UPDATE SET reason = excluded.reason, by = excluded.by, at = excluded.at, until = excluded.until,
			revision = excluded.revision`},
		{&st.unblockMember, `DELETE FROM blocked_member WHERE member = ?1 RETURNING until`},
		{&st.endedBlocks, `DELETE FROM blocked_member WHERE until > 0 AND until <= ?1`},
	} {
		stmt, err := c.Prepare(s.sql)
		if err != nil {
			st.close()
			return nil, err
		}
		*s.to = stmt
		st.all = append(st.all, stmt)
	}
	return st, nil
}

func (st *writeStatements) close() { closeAll(st.all) }

func closeAll(statements []*lite.Stmt) {
	for _, s := range statements {
		s.Close()
	}
}
