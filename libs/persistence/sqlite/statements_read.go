package sqlite

import (
	"github.com/parley-rt/parley/libs/persistence/sqlite/internal/lite"
)

// readStatements are those of one reading connection.
type readStatements struct {
	begin, commit *lite.Stmt

	head, eventPosition *lite.Stmt
	events, eventsDesc  *lite.Stmt
	snapshots           *lite.Stmt
	claims, takeovers   *lite.Stmt

	lane, laneEvents, checkpoints *lite.Stmt
	partitions                    *lite.Stmt
	blockers, blockedKeys         *lite.Stmt
	checkpointsBehind             *lite.Stmt
	generation                    *lite.Stmt

	blockOf, blocks, blocksSince, newestBlock *lite.Stmt

	all []*lite.Stmt
}

const blockColumns = `member, reason, by, at, until, revision FROM blocked_member WHERE (until = 0 OR until > ?1)`

const eventColumns = `seq, epoch, at, codec, message_id, manifest, meta, payload`

// blockedStreams are those whose newest snapshot is not beyond their events up to the position ?1: the first event after
// the snapshot is at or below it. One look at the index for each stream, whatever it holds.
const blockedStreams = `journal_stream AS s CROSS JOIN journal_event AS e
	ON e.stream_id = s.stream_id AND e.seq = s.snap_seq + 1 WHERE s.last_seq > s.snap_seq AND e.pos <= ?1`

func prepareReads(c *lite.Conn) (*readStatements, error) {
	st := &readStatements{}
	for _, s := range []struct {
		to  **lite.Stmt
		sql string
	}{
		{&st.begin, `BEGIN`},
		{&st.commit, `COMMIT`},
		{&st.head, `SELECT ` + headColumns + ` FROM journal_stream WHERE stream_key = ?1`},
		{&st.eventPosition, eventPosition},
		{&st.events, `SELECT ` + eventColumns + ` FROM journal_event
			WHERE stream_id = ?1 AND seq >= ?2 AND seq <= ?3 ORDER BY seq`},
		{&st.eventsDesc, `SELECT ` + eventColumns + ` FROM journal_event
			WHERE stream_id = ?1 AND seq >= ?2 AND seq <= ?3 ORDER BY seq DESC`},
		{&st.snapshots, `SELECT seq, epoch, at, codec, manifest, meta, payload FROM journal_snapshot
			WHERE stream_id = ?1 AND seq <= ?2 ORDER BY seq DESC LIMIT 2`},
		{&st.claims, `SELECT ifnull(max(claim_no), 0) FROM journal_stream`},
		{&st.takeovers, `SELECT stream_key, epoch, owner, claimed_at FROM journal_stream
			WHERE claim_no > ?1 ORDER BY claim_no DESC`},

		{&st.lane, `SELECT max(pos, ifnull((SELECT max(pos) FROM journal_event), 0)), trim_pos
			FROM journal_lane WHERE lane = 0`},
		{&st.laneEvents, `SELECT ` + eventColumns + `, pos, (SELECT s.stream_key FROM journal_stream AS s
			WHERE s.stream_id = journal_event.stream_id) FROM journal_event WHERE pos > ?1 ORDER BY pos`},
		{&st.checkpoints, `SELECT name, lane, pos, epoch, owner FROM journal_checkpoint ORDER BY name, lane`},
		{&st.checkpointsBehind, `SELECT DISTINCT name FROM journal_checkpoint WHERE pos < ?1 ORDER BY name`},
		{&st.generation, `SELECT generation FROM session WHERE id = ?1 AND expires_at > ?2`},
		{&st.blockOf, `SELECT ` + blockColumns + ` AND member = ?2`},
		{&st.blocks, `SELECT ` + blockColumns + ` AND member > ?2 ORDER BY member LIMIT ?3`},
		{&st.blocksSince, `SELECT ` + blockColumns + ` AND revision > ?2 ORDER BY revision LIMIT ?3`},
		{&st.newestBlock, `SELECT revision FROM block_revision`},
		{&st.partitions, `SELECT part, after_pos, ifnull(last_pos, ?1), last_pos IS NULL FROM journal_segment
			ORDER BY part, after_pos`},
		{&st.blockers, `SELECT count(*) FROM ` + blockedStreams},
		{&st.blockedKeys, `SELECT stream_key FROM ` + blockedStreams + ` ORDER BY stream_key LIMIT ?2`},
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

func (st *readStatements) close() { closeAll(st.all) }
