package pgtest

import (
	"context"
	"errors"
	"fmt"
	"syscall"
)

// ErrNotRunning is returned by what needs a running server.
var ErrNotRunning = errors.New("the cluster does not run")

// StartAgain starts the server after Kill9, KillPostmaster or Stop, on the same data and port, and returns when it accepts
// connections: after crash recovery.
func (c *Cluster) StartAgain(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.postmaster.runs() {
		return fmt.Errorf("start: the postmaster runs already, with process id %d", c.postmaster.pid)
	}
	// The new postmaster refuses to start while processes of the old one have its shared memory.
	if err := awaitGone(ctx, c.survivors); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	c.survivors = nil
	cmd := c.install.command(context.Background(), c.data, "postgres", "-D", c.data)
	cmd.Stdout, cmd.Stderr = c.log, c.log
	endWithParent(cmd.SysProcAttr)
	p, err := launch(cmd)
	if err != nil {
		return err
	}
	c.postmaster = p
	if err := p.ready(ctx, c.data); err != nil {
		err = fmt.Errorf("start: %w; the end of its log:\n%s", err, c.logTail())
		if p.runs() {
			err = errors.Join(err, c.kill())
		}
		return err
	}
	return nil
}

// Stop ends the server in Postgres's own way: "smart" waits until the clients have gone, "fast" ends their sessions and writes
// a checkpoint, "immediate" just ends, which leaves crash recovery to the next start.
func (c *Cluster) Stop(ctx context.Context, mode string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.postmaster.runs() {
		return fmt.Errorf("stop: %w", ErrNotRunning)
	}
	return c.stop(ctx, mode)
}

func (c *Cluster) stop(ctx context.Context, mode string) error {
	signals := map[string]syscall.Signal{"smart": syscall.SIGTERM, "fast": syscall.SIGINT, "immediate": syscall.SIGQUIT}
	signal, known := signals[mode]
	if !known {
		return fmt.Errorf("stop: unknown mode %q, want smart, fast or immediate", mode)
	}
	if err := c.postmaster.signal(signal); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	if err := c.postmaster.ended(ctx); err != nil {
		return fmt.Errorf("stop %s: %w", mode, err)
	}
	return nil
}

// Kill9 ends all processes of the cluster by SIGKILL, at the same moment as nearly as can be, and returns when they are gone.
// What they wrote without a sync is not lost: only a power cut takes the kernel's memory along.
func (c *Cluster) Kill9() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.postmaster.runs() {
		return fmt.Errorf("kill: %w", ErrNotRunning)
	}
	return c.kill()
}

func (c *Cluster) kill() error {
	all, err := c.freeze()
	if err != nil {
		return fmt.Errorf("kill: %w", err)
	}
	signalAll(all, syscall.SIGKILL)
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err = errors.Join(c.postmaster.ended(ctx), awaitGone(ctx, all[1:]))
	if c.keeper != nil { // killed while paused
		c.keeper.dismiss()
		c.keeper = nil
	}
	if err != nil {
		return fmt.Errorf("kill: %w", err)
	}
	return nil
}

// KillPostmaster ends only the postmaster by SIGKILL. Its children find out and end, which may take them a moment or the rest
// of a statement: until then they commit and acknowledge. StartAgain waits for them.
func (c *Cluster) KillPostmaster() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.postmaster.runs() {
		return fmt.Errorf("kill the postmaster: %w", ErrNotRunning)
	}
	if c.keeper != nil {
		return errors.New("kill the postmaster: the cluster is paused")
	}
	all, err := c.freeze()
	if err != nil {
		return fmt.Errorf("kill the postmaster: %w", err)
	}
	c.survivors = all[1:]
	signalAll(all[:1], syscall.SIGKILL)
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return c.postmaster.ended(ctx)
}

// Pause stops all processes of the cluster (SIGSTOP) as a hung machine would: connections stay open, nobody answers.
func (c *Cluster) Pause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.postmaster.runs():
		return fmt.Errorf("pause: %w", ErrNotRunning)
	case c.keeper != nil:
		return nil
	}
	all, err := c.freeze()
	if err != nil {
		return fmt.Errorf("pause: %w", err)
	}
	// From here on somebody is there to wake them, whatever becomes of this process.
	if c.keeper, err = newKeeper(all); err != nil {
		signalAll(all, syscall.SIGCONT)
		return fmt.Errorf("pause: %w", err)
	}
	signalAll(all, syscall.SIGSTOP)
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := awaitStopped(ctx, all); err != nil {
		return errors.Join(fmt.Errorf("pause: %w", err), c.resume())
	}
	return nil
}

// Resume ends Pause. It does nothing to a cluster that is not paused.
func (c *Cluster) Resume() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keeper == nil {
		return nil
	}
	return c.resume()
}

func (c *Cluster) resume() error {
	k := c.keeper
	c.keeper = nil
	if err := k.wake(); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	return nil
}

// freeze stops the postmaster, so that it starts no more processes, and returns it with its children behind it.
func (c *Cluster) freeze() ([]process, error) {
	if err := c.postmaster.signal(syscall.SIGSTOP); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	self := process{pid: c.postmaster.pid}
	if err := awaitStopped(ctx, []process{self}); err != nil {
		return nil, err
	}
	list, err := processes()
	if err != nil {
		return nil, err
	}
	all := []process{self}
	for _, p := range list {
		if p.parent == self.pid {
			all = append(all, p)
		}
	}
	return all, nil
}
