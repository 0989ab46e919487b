package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/parley-rt/parley/e2e/harness"
	"github.com/parley-rt/parley/e2e/history"
	"github.com/parley-rt/parley/e2e/network"
	"github.com/parley-rt/parley/libs/protocol/codec"
)

// patience bounds waits for what takes long on a busy machine and is no promise.
const patience = 2 * time.Minute

// World is a datacenter of real processes.
type World struct {
	postgres     *harness.Cluster
	plane        *harness.ControlPlane
	nodes        map[string]*harness.Node
	gateways     []*harness.Node
	rooms        []*harness.Node
	network      *network.Network
	hosts        map[string]*network.Host
	start        time.Time
	clock        func() time.Duration
	mu           sync.Mutex
	excuses      []history.Excuse
	members      []*member
	programs     []*program
	recorders    []*history.Recorder
	silent       map[string]*member // the publisher of each room in which nobody else publishes
	quit         chan struct{}
	stopClients  context.CancelFunc
	clientsEnded sync.WaitGroup
}

// Deployment says what the world consists of.
type Deployment struct {
	Gateways, Rooms int
	ControlPlane    string // nats or etcd
	Namespaces      bool
	// RoomsCommand is another command of the checkout to run as rooms nodes; empty: theirs.
	RoomsCommand string
	// BuildTags are for the nodes' binaries.
	BuildTags []string
}

// startWorld starts everything and returns when all nodes are ready.
func startWorld(t *testing.T, d Deployment) *World {
	t.Helper()
	w := &World{nodes: make(map[string]*harness.Node), hosts: make(map[string]*network.Host), silent: make(map[string]*member)}
	if d.Namespaces {
		n, err := network.New()
		if err != nil {
			t.Fatalf("%v\n-chaos.network=loopback does without, and without the faults that cut wires", err)
		}
		t.Cleanup(func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		})
		w.network = n
		w.hosts[clients] = n.Outside()
		for _, name := range []string{postgres, controlPlane} {
			if w.hosts[name], err = n.Host(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.postgres = harness.StartClusterOn(t, w.hosts[postgres])
	harness.Migrate(t, w.postgres.URL())
	switch d.ControlPlane {
	case "nats":
		w.plane = harness.NewNATSOn(t, w.hosts[controlPlane])
	case "etcd":
		w.plane = harness.NewEtcdOn(t, w.hosts[controlPlane])
	default:
		t.Fatalf("control plane %q: want nats or etcd", d.ControlPlane)
	}
	w.plane.Start()
	nodes := &harness.Deployment{JournalURL: w.postgres.URL(), ControlPlaneURL: w.plane.URL(), Network: w.network, RoomsCommand: d.RoomsCommand, BuildTags: d.BuildTags}
	w.gateways = nodes.NewNodes(t, harness.Gateway, d.Gateways)
	w.rooms = nodes.NewNodes(t, harness.Rooms, d.Rooms)
	for _, n := range slices.Concat(w.rooms, w.gateways) {
		w.nodes[n.Name], w.hosts[n.Name] = n, n.Host()
		n.Start()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := w.awaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return w
}

// awaitReady returns when all nodes are.
func (w *World) awaitReady(ctx context.Context) error {
	for _, n := range slices.Concat(w.rooms, w.gateways) {
		if err := n.AwaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

func names(nodes []*harness.Node) []string {
	list := make([]string, len(nodes))
	for i, n := range nodes {
		list[i] = n.Name
	}
	return list
}

// Load says what the clients do.
type Load struct {
	Seed uint64
	// Rooms have producers; Silent ones have readers on one gateway and somebody on another who publishes now and then.
	Rooms, Silent int
	// Pace is the mean time between two publishes of a producer.
	Pace time.Duration
}

// startLoad lets the clients in.
func (w *World) startLoad(l Load) {
	w.start = time.Now()
	w.clock = history.Since(w.start)
	w.quit = make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	w.stopClients = cancel
	b := &builder{world: w, load: l, random: rand.New(rand.NewPCG(l.Seed, 2))}
	for i := range l.Rooms {
		b.busyRoom(fmt.Sprintf("busy-%d", i))
	}
	for i := range l.Silent {
		b.silentRoom(fmt.Sprintf("silent-%d", i))
	}
	for _, m := range w.members {
		w.clientsEnded.Go(func() { m.run(ctx) })
	}
	for _, p := range w.programs {
		w.clientsEnded.Go(func() { p.run(ctx) })
	}
}

// endLoad cuts all clients off.
func (w *World) endLoad() {
	if w.stopClients != nil {
		w.stopClients()
		w.clientsEnded.Wait()
	}
}

// clientCount is how many there are.
func (w *World) clientCount() int { return len(w.members) + len(w.programs) }

// builder makes clients.
type builder struct {
	world  *World
	load   Load
	random *rand.Rand
	count  int
}

func (b *builder) recorder(room string) *history.Recorder {
	r := history.NewRecorder(room, b.world.clock)
	b.world.recorders = append(b.world.recorders, r)
	return r
}

func (b *builder) gatewayList() []Gateway {
	list := make([]Gateway, len(b.world.gateways))
	for i, n := range b.world.gateways {
		list[i] = Gateway{Name: n.Name, URL: n.WebSocket()}
	}
	return list
}

// seeded returns a source of random numbers of its own: clients run beside each other.
func (b *builder) seeded() *rand.Rand {
	return rand.New(rand.NewPCG(b.random.Uint64(), b.random.Uint64()))
}

func (b *builder) member(r *history.Recorder, name string, at int) *member {
	b.count++
	var c codec.Codec = codec.Binary{}
	if b.count%2 == 0 {
		c = codec.JSON{}
	}
	m := &member{
		identity: identity{gateways: b.gatewayList(), at: at % len(b.world.gateways), codec: c, record: r, random: b.seeded()},
		roomID:   r.Room(), follower: r.Follower(name, false), quit: b.world.quit, whisper: make(chan struct{}, 1),
	}
	b.world.members = append(b.world.members, m)
	return m
}

func (b *builder) program(r *history.Recorder, name string, produces bool) {
	p := &program{
		gateways: b.gatewayList(), roomID: r.Room(), record: r, follower: r.Follower(name, true), pace: 2 * b.load.Pace, random: b.seeded(),
		quit: b.world.quit, published: make(chan struct{}),
	}
	if produces {
		p.producer = r.Producer(name, true)
	}
	b.world.programs = append(b.world.programs, p)
}

// busyRoom has two producers with a window, on different gateways, a program that does both, and those that only read: one
// on each gateway, one with the SDK, one that wanders.
func (b *builder) busyRoom(room string) {
	r := b.recorder(room)
	at := b.random.IntN(len(b.world.gateways))
	for i := range 2 {
		name := fmt.Sprintf("producer-%d", i)
		m := b.member(r, name, at+i)
		m.producer, m.window, m.pace = r.Producer(name, false), 4, b.load.Pace
	}
	for i := range 2 {
		b.member(r, fmt.Sprintf("reader-%d", i), at+i)
	}
	b.member(r, "wanderer", at).restless = true
	b.program(r, "program", true)
	if b.count%3 == 0 {
		b.program(r, "audience", false)
	}
}

// silentRoom has readers on one gateway, and on another a member that publishes only when it is told to.
func (b *builder) silentRoom(room string) {
	r := b.recorder(room)
	at := b.random.IntN(len(b.world.gateways))
	for i := range 3 {
		b.member(r, fmt.Sprintf("reader-%d", i), at)
	}
	m := b.member(r, "whisperer", at+1)
	m.producer, m.window = r.Producer("whisperer", false), 1
	b.world.silent[room] = m
}
