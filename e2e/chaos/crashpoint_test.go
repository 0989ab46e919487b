package chaos

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
)

var flagPoints = flag.Int("chaos.points", 2, "crash points that TestCrashPoints goes through; 0: all")

// crashPoint is a named place at which a process can kill itself, in a build with the tag failpoints.
type crashPoint struct {
	name string
	kind harness.Kind
	// most is up to which time of being there the process may go on.
	most int
	// lure gets the process there: traffic alone may not.
	lure func(ctx context.Context, p *pointTrial, target *harness.Node) error
}

func crashPoints() []crashPoint {
	return []crashPoint{
		{"room.after-claim", harness.Rooms, 8, onlyOne},
		{"room.after-commit", harness.Rooms, 200, onlyOne},
		{"room.after-ack", harness.Rooms, 200, onlyOne},
		{"room.before-snapshot", harness.Rooms, 2, onlyOne},
		{"roomhost.before-hand-over", harness.Rooms, 3, handOver},
		{"roomhost.after-hand-over", harness.Rooms, 3, handOver},
		{"roomhost.before-taken-over", harness.Rooms, 2, takeOver},
		{"member.after-save", harness.Gateway, 2, flee},
		{"member.after-resume", harness.Gateway, 20, flee},
	}
}

// S1 to S5, L1 to L3 and L6 with processes that die exactly where it hurts: between a commit and its acknowledgement, between an
// acknowledgement and its delivery, in the middle of a hand-over, between the parts of a join and of a resume.
func TestCrashPoints(t *testing.T) {
	seed := theSeed()
	random := rand.New(rand.NewPCG(seed, 3))
	points := crashPoints()
	random.Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
	if *flagPoints > 0 && *flagPoints < len(points) {
		points = points[:*flagPoints]
	}
	tr := begin(t, Deployment{BuildTags: []string{"failpoints"}}, Load{Seed: seed, Rooms: 8, Silent: 3, Pace: 25 * time.Millisecond})
	t.Logf("-chaos.seed=%d -chaos.control-plane=%s: %d points", seed, *flagPlane, len(points))
	p := &pointTrial{trial: tr, random: random}
	for i, point := range points {
		require.NoError(t, p.crashAt(t.Context(), point), point.name)
		require.NoError(t, tr.nemesis.heal(t.Context(), i == len(points)-1), point.name)
	}
	records, violations := tr.end(t)
	show(t, violations)
	dump(t, records, violations)
}

type pointTrial struct {
	*trial
	random *rand.Rand
}

const (
	crashWithin = time.Minute
	variable    = "TEST_PARLEY_FAILPOINTS"
)

// crashAt has a process of the point's kind die there, and starts everything again.
func (p *pointTrial) crashAt(ctx context.Context, point crashPoint) error {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	nodes := p.world.rooms
	if point.kind == harness.Gateway {
		nodes = p.world.gateways
	}
	target := nodes[p.random.IntN(len(nodes))]
	for _, n := range nodes {
		p.nemesis.touch(n.Name)
	}
	nth := 1 + p.random.IntN(point.most)
	p.nemesis.logf("%8s  %s crashes at %s, the time number %d", p.nemesis.now(), target.Name, point.name, nth)
	if err := target.Term(drainTimeout); err != nil {
		return err
	}
	target.StartWith(fmt.Sprintf("%s=%s=crash@%d", variable, point.name, nth))
	if err := point.lure(ctx, p, target); err != nil {
		return err
	}
	ending, cancel := context.WithTimeout(ctx, crashWithin)
	defer cancel()
	err := target.AwaitEnd(ending)
	if err := killedItself(err); err != nil {
		return err
	}
	if mark := "failpoint: " + point.name + ": crash"; !strings.Contains(target.Log(), mark) {
		return fmt.Errorf("%s was killed by somebody else: %q is not in its log", target.Name, mark)
	}
	p.nemesis.logf("%8s  %s has crashed", p.nemesis.now(), target.Name)
	p.world.startMissing()
	return nil
}

func killedItself(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
			return nil
		}
	}
	return fmt.Errorf("not ended by a crash: %w", err)
}

// startMissing starts the nodes that do not run.
func (w *World) startMissing() {
	for _, n := range slices.Concat(w.rooms, w.gateways) {
		if n.PID() == 0 {
			n.Start()
		}
	}
}

// onlyOne kills all other rooms nodes: the target has to take their rooms.
func onlyOne(ctx context.Context, p *pointTrial, target *harness.Node) error {
	if err := target.AwaitReady(ctx); err != nil {
		return nil //nolint:nilerr // it may have crashed there already; AwaitEnd tells
	}
	for _, n := range p.world.rooms {
		if n != target {
			n.Kill9()
		}
	}
	return nil
}

// flee kills the other gateway: its clients resume at the target, which is the only one that members can leave rooms and come
// back through.
func flee(ctx context.Context, p *pointTrial, target *harness.Node) error {
	if err := target.AwaitReady(ctx); err != nil {
		return nil //nolint:nilerr // it may have crashed there already; AwaitEnd tells
	}
	for _, n := range p.world.gateways {
		if n != target {
			n.Kill9()
		}
	}
	return nil
}

// handOver gives the target all rooms, and then makes it give them away.
func handOver(ctx context.Context, p *pointTrial, target *harness.Node) error {
	if err := target.AwaitReady(ctx); err != nil {
		return err
	}
	if err := onlyOne(ctx, p, target); err != nil {
		return err
	}
	if err := p.awaitOwner(ctx, func(owner string) bool { return owner == target.Name }, len(p.world.recorders)); err != nil {
		return err
	}
	// One after the other: two that join the cluster at once, while it still believes their former lives, get into each other's way
	// and give up after most of a minute.
	for _, n := range p.world.rooms {
		if n == target {
			continue
		}
		n.Start()
		if err := n.AwaitReady(ctx); err != nil {
			return err
		}
	}
	target.Signal(syscall.SIGTERM)
	return nil
}

// takeOver makes another node give its rooms away, some of them to the target.
func takeOver(ctx context.Context, p *pointTrial, target *harness.Node) error {
	if err := target.AwaitReady(ctx); err != nil {
		return err
	}
	var other *harness.Node
	for _, n := range p.world.rooms {
		if n != target && (other == nil || p.random.IntN(2) == 0) {
			other = n
		}
	}
	// All rooms are at the other one, and the third is not there to take any.
	for _, n := range p.world.rooms {
		if n != target && n != other {
			if err := n.Term(drainTimeout); err != nil {
				return err
			}
		}
	}
	if err := p.awaitOwner(ctx, func(owner string) bool { return owner == other.Name }, 2); err != nil {
		return err
	}
	return other.Term(drainTimeout)
}

// awaitOwner waits until so many rooms have an owner that is right.
func (p *pointTrial) awaitOwner(ctx context.Context, right func(owner string) bool, count int) error {
	for {
		claims, err := claimsOf(ctx, p.world.postgres.URL())
		if err != nil {
			return err
		}
		have := 0
		for _, c := range claims {
			if right(c.Owner) {
				have++
			}
		}
		if have >= min(count, len(claims)) {
			return nil
		}
		if !pause(ctx, 10*tick) {
			return fmt.Errorf("rooms do not get the owner they should have: %v", claims)
		}
	}
}
