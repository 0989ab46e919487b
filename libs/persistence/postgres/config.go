package postgres

import (
	"fmt"
	"maps"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/parley-rt/parley/libs/persistence"
)

// Timeouts of connections.
const (
	connectTimeout = 2 * time.Second
	// maxConnectDoublings bounds how patient it gets: 8 s a host.
	maxConnectDoublings = 2
	keepIdle            = 5 * time.Second
	keepInterval        = 2 * time.Second
	keepCount           = 3
)

// DefaultSchema holds the tables unless the URL names another by search_path.
const DefaultSchema = "parley"

// config is a parsed URL.
type config struct {
	base   *pgx.ConnConfig
	schema string
}

// schemaName is what a schema may be called: it becomes part of statements.
var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// parseURL accepts what libpq accepts, several hosts included. A server that does not take writes is passed over unless
// the URL says otherwise, so that a list of hosts follows a failover.
func parseURL(url string) (config, error) {
	base, err := pgx.ParseConfig(url)
	if err != nil {
		// pgx redacts the password in its text.
		return config{}, fmt.Errorf("journal URL: %w: %w", persistence.ErrInvalid, err)
	}
	if base.DefaultQueryExecMode != pgx.QueryExecModeCacheStatement {
		return config{}, fmt.Errorf("journal URL: default_query_exec_mode must be cache_statement, the default: %w", persistence.ErrInvalid)
	}
	if base.ValidateConnect == nil {
		base.ValidateConnect = requireReadWrite
	}
	if base.ConnectTimeout == 0 {
		base.ConnectTimeout = connectTimeout
	}
	schema := base.RuntimeParams["search_path"]
	if schema == "" {
		schema = DefaultSchema
	}
	if !schemaName.MatchString(schema) {
		return config{}, fmt.Errorf("journal URL: search_path %q must be one schema of lower-case letters, digits and underscores: %w",
			schema, persistence.ErrInvalid)
	}
	base.RuntimeParams["search_path"] = schema
	if base.RuntimeParams["application_name"] == "" {
		base.RuntimeParams["application_name"] = "parley"
	}
	return config{base: base, schema: schema}, nil
}

// forWriting returns a configuration for a connection that writes; dial is that connection's alone.
func (c config) forWriting(dial *onceDialer) *pgx.ConnConfig {
	cfg := c.base.Copy()
	cfg.RuntimeParams = maps.Clone(cfg.RuntimeParams)
	cfg.DialFunc = dial.dial
	return cfg
}

// Settings of a connection that reads, on the server. Every statement is made for one plan: index scans and nested loops,
// whatever the statistics say of a table, or do not say yet. Making that plan for each execution would cost more than
// executing it, the more partitions there are.
const readerSettings = `
	SET plan_cache_mode = force_generic_plan;
	SET enable_seqscan = off;
	SET enable_bitmapscan = off;
	SET enable_hashjoin = off;
	SET enable_mergejoin = off;
	SET jit = off`

// Settings of a connection that writes, on the server.
//
//   - A commit is answered after it is on disk, whatever the server's or the role's default.
//   - The plans of the statements are known to be right: nested loops along the arrays, by primary key. A head table that
//     was never analysed must not change them.
//   - lock_timeout bounds the wait for a lane or a row; the wait for a commit to be replicated is bounded by nothing on the
//     server, since whatever ended it there would publish a commit that is not replicated.
//   - The keepalives and client_connection_check_interval end the server's side of a connection whose client is gone, so
//     that it does not hold a lane for longer than that.
const writerSettings = `
	SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
	SET enable_seqscan = off;
	SET enable_hashjoin = off;
	SET enable_mergejoin = off;
	SET plan_cache_mode = force_generic_plan;
	SET jit = off;
	SET lock_timeout = '2s';
	SET statement_timeout = 0;
	SELECT set_config('transaction_timeout', '0', false) FROM pg_settings WHERE name = 'transaction_timeout';
	SET idle_in_transaction_session_timeout = '5s';
	SET tcp_keepalives_idle = 5;
	SET tcp_keepalives_interval = 2;
	SET tcp_keepalives_count = 3;
	SET tcp_user_timeout = 10000;
	SET client_connection_check_interval = '2s'`
