package pgtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Standby makes a copy of the running cluster that follows it: a streaming standby that answers reads. name is its
// application_name, by which synchronous_standby_names knows it. It returns once the standby streams. Its settings are this
// cluster's, but for opts and synchronous_standby_names, which a promoted standby would wait for. It ends with this cluster,
// or with its own Close before.
func (c *Cluster) Standby(ctx context.Context, name string, opts Options) (*Cluster, error) {
	settings := maps.Clone(c.settings)
	delete(settings, syncNames)
	standby, err := prepare(opts, settings)
	if err != nil {
		return nil, err
	}
	if err := standby.follow(ctx, c, name, opts.Settings[syncNames]); err != nil {
		return nil, errors.Join(fmt.Errorf("standby %s: %w", name, err), standby.Close())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errors.Join(fmt.Errorf("standby %s: %w", name, ErrNotRunning), standby.Close())
	}
	c.standbys = append(c.standbys, standby)
	return standby, nil
}

const syncNames = "synchronous_standby_names"

// follow copies the primary's data and starts on it.
func (c *Cluster) follow(ctx context.Context, primary *Cluster, name, syncStandbys string) error {
	source := fmt.Sprintf("host=127.0.0.1 port=%d user=%s application_name='%s'", primary.port.number, superuser,
		strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(name))
	err := c.install.run(ctx, c.data, "pg_basebackup", "-D", c.data, "-d", source,
		"--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync")
	if err != nil {
		return err
	}
	if err := c.configure(); err != nil {
		return err
	}
	if err := c.overrule(syncNames, syncStandbys); err != nil {
		return err
	}
	if err := c.StartAgain(ctx); err != nil {
		return err
	}
	return awaitTrue(ctx, func() (streams bool, err error) {
		err = primary.QueryRow(ctx, "SELECT count(*) > 0 FROM pg_stat_replication WHERE application_name = $1 AND state = 'streaming'", name).
			Scan(&streams)
		return streams, err
	})
}

// overrule adds to what ALTER SYSTEM wrote, which comes with the copy and goes before postgresql.conf.
func (c *Cluster) overrule(name, value string) error {
	file, err := os.OpenFile(filepath.Join(c.data, "postgresql.auto.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("configure the standby: %w", err)
	}
	_, err = fmt.Fprintf(file, "%s = '%s'\n", name, strings.ReplaceAll(value, "'", "''"))
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("configure the standby: %w", err)
	}
	return nil
}

// Promote makes a standby a primary and returns when it accepts writes.
func (c *Cluster) Promote(ctx context.Context) error {
	if err := c.Exec(ctx, "SELECT pg_promote(false)"); err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	err := awaitTrue(ctx, func() (primary bool, err error) {
		err = c.QueryRow(ctx, "SELECT NOT pg_is_in_recovery()").Scan(&primary)
		return primary, err
	})
	if err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	return nil
}

// awaitTrue asks until the answer is yes or an error.
func awaitTrue(ctx context.Context, ask func() (bool, error)) error {
	ticker := time.NewTicker(4 * poll)
	defer ticker.Stop()
	for {
		yes, err := ask()
		if err != nil || yes {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
