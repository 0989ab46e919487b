package chaos

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/e2e/history"
	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
)

const (
	roomStream    = "room/"
	messagePosted = "parley.journal.v1.MessagePosted"
	// askTimeout bounds a question to Postgres while it may be gone or frozen.
	askTimeout = time.Second
)

// claimsOf asks the journal who writes which room.
func claimsOf(ctx context.Context, url string) (map[string]history.Claim, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }()
	return claimsBy(ctx, conn)
}

func claimsBy(ctx context.Context, conn *pgx.Conn) (map[string]history.Claim, error) {
	rows, err := conn.Query(ctx, "SELECT stream_key, epoch, owner FROM journal_stream WHERE starts_with(stream_key, $1)", roomStream)
	if err != nil {
		return nil, fmt.Errorf("ask for claims: %w", err)
	}
	claims := make(map[string]history.Claim)
	var key, owner string
	var epoch int64
	_, err = pgx.ForEachRow(rows, []any{&key, &epoch, &owner}, func() error {
		claims[strings.TrimPrefix(key, roomStream)] = history.Claim{Epoch: uint64(epoch), Owner: owner}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ask for claims: %w", err)
	}
	return claims, nil
}

// rowsOf reads every event of the rooms as it is stored.
func rowsOf(ctx context.Context, url string) (map[string][]history.Row, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, `SELECT stream_key, seq, e.epoch, manifest, payload FROM journal_event e JOIN journal_stream s USING (stream_id)
		WHERE starts_with(stream_key, $1) ORDER BY stream_key, seq`, roomStream)
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	all := make(map[string][]history.Row)
	var key, manifest string
	var seq, epoch int64
	var payload []byte
	_, err = pgx.ForEachRow(rows, []any{&key, &seq, &epoch, &manifest, &payload}, func() error {
		row := history.Row{Seq: uint64(seq), Epoch: uint64(epoch)}
		if manifest == messagePosted {
			var m journalv1.MessagePosted
			if err := proto.Unmarshal(payload, &m); err != nil {
				return fmt.Errorf("event %d of %s: %w", seq, key, err)
			}
			row.Entry = &history.Entry{Seq: row.Seq, Prev: m.PrevSeq, ID: m.MessageId, Sender: m.MemberId, Content: m.Content}
		}
		room := strings.TrimPrefix(key, roomStream)
		all[room] = append(all[room], row)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	return all, nil
}

// sampler asks who writes the rooms, over and over.
type sampler struct {
	url   string
	clock func() time.Duration
	// claims are those of each room, in the order of time.
	claims map[string][]history.Claim
}

const sampleEvery = 500 * time.Millisecond

// run samples until ctx ends.
func (s *sampler) run(ctx context.Context) {
	var conn *pgx.Conn
	for pause(ctx, sampleEvery) {
		var err error
		if conn, err = s.sample(ctx, conn); err != nil && conn != nil {
			_ = conn.Close(ctx) // it is broken
			conn = nil
		}
	}
	if conn != nil {
		_ = conn.Close(context.WithoutCancel(ctx))
	}
}

func (s *sampler) sample(ctx context.Context, conn *pgx.Conn) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if conn == nil {
		var err error
		if conn, err = pgx.Connect(ctx, s.url); err != nil {
			return nil, err
		}
	}
	claims, err := claimsBy(ctx, conn)
	if err != nil {
		return conn, err
	}
	now := s.clock()
	for room, claim := range claims {
		claim.At = now
		s.claims[room] = append(s.claims[room], claim)
	}
	return conn, nil
}
