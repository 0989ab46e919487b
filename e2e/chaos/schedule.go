package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Action is what happens to a target.
type Action string

// The actions. All but Drain end after the fault's time. Cut, Split and Lose are the network's, the others are done to a process.
const (
	Kill   Action = "kill -9"
	Freeze Action = "freeze"
	Drain  Action = "SIGTERM" // ends when the process does; it is started again the fault's time later
	Cut    Action = "cut"
	Split  Action = "split off" // from everybody but clients, both ways
	Limp   Action = "limp"      // the process stops and goes on, many times a second
	Lose   Action = "lose"      // a share of all packets of the target, clients' included
)

// Names of what is there once.
const (
	postgres     = "postgres"
	controlPlane = "control-plane"
	clients      = "clients"
)

// Fault is one thing that goes wrong. Its times count from the beginning of its episode.
type Fault struct {
	Class  string // what it is an example of, like "rooms killed"
	Action Action
	Target string
	// Of a cut: packets from Target to Peer are lost, and with Both also those from Peer to Target.
	Peer         string
	Both, Refuse bool
	// Of a split: who is on the target's side.
	With []string
	// Of lost packets: the part of 1.
	Share      float64
	After, For time.Duration
}

// wired tells whether it happens to the network, and not to a process.
func (f Fault) wired() bool { return f.Action == Cut || f.Action == Split || f.Action == Lose }

// side are all nodes that have the fault.
func (f Fault) side() []string {
	side := append([]string{f.Target}, f.With...)
	if f.Peer != "" {
		side = append(side, f.Peer)
	}
	return side
}

// String says what happens when.
func (f Fault) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "+%v %s %s", f.After.Round(time.Millisecond), f.Action, f.Target)
	switch f.Action {
	case Split:
		for _, name := range f.With {
			fmt.Fprintf(&b, " and %s", name)
		}
	case Lose:
		fmt.Fprintf(&b, " %.0f %%", 100*f.Share)
	case Cut:
		arrow, manner := "→", "dropped"
		if f.Both {
			arrow = "↔"
		}
		if f.Refuse {
			manner = "refused"
		}
		fmt.Fprintf(&b, "%s%s, %s", arrow, f.Peer, manner)
	}
	fmt.Fprintf(&b, ", %v", f.For.Round(time.Millisecond))
	return b.String()
}

// Episode is some faults, after which everything is well for a while.
type Episode []Fault

// Length is when the last fault ends.
func (e Episode) Length() time.Duration {
	var length time.Duration
	for _, f := range e {
		length = max(length, f.After+f.For)
	}
	return length
}

// String lists the faults.
func (e Episode) String() string {
	texts := make([]string, len(e))
	for i, f := range e {
		texts[i] = f.String()
	}
	return strings.Join(texts, "; ")
}

// Plan says what a Schedule is for.
type Plan struct {
	Seed     uint64
	Duration time.Duration
	// Gateways and Rooms are the names of the nodes.
	Gateways, Rooms []string
	// Cuts: wires can be cut.
	Cuts bool
	// Single: no two faults at a time, for measurements.
	Single bool
	// Only are the classes to choose from; empty: all.
	Only []string
}

// quiet is about how long nothing happens after an episode.
const quiet = 8 * time.Second

// Schedule draws episodes for about the plan's time. Every class of fault comes up before one comes up again.
func Schedule(p Plan) []Episode {
	d := &drawer{plan: p, random: rand.New(rand.NewPCG(p.Seed, 1))}
	d.longest = min(time.Minute, max(4*time.Second, p.Duration/8))
	var episodes []Episode
	for total := time.Duration(0); total < p.Duration; {
		e := d.episode()
		episodes = append(episodes, e)
		total += e.Length() + quiet
	}
	return episodes
}

type drawer struct {
	plan    Plan
	random  *rand.Rand
	longest time.Duration
	deck    []class
}

// class is a kind of fault, with how to draw one.
type class struct {
	name string
	draw func(d *drawer) Fault
}

func (d *drawer) episode() Episode {
	count := 1
	if !d.plan.Single && d.random.IntN(5) >= 2 {
		count = 2 + d.random.IntN(2)
	}
	var e Episode
	hit := make(map[string]bool)
	for len(e) < count {
		f := d.next()
		if !f.wired() && hit[f.Target] {
			break // a process has one fault at a time; what was drawn is lost, the next episode is another
		}
		if !f.wired() {
			hit[f.Target] = true
		}
		if len(e) > 0 { // while the first one lasts, or right at its end
			f.After = time.Duration(d.random.Int64N(int64(e[0].For) + int64(time.Second)))
		}
		e = append(e, f)
	}
	return e
}

func (d *drawer) next() Fault {
	if len(d.deck) == 0 {
		d.deck = d.classes()
		d.random.Shuffle(len(d.deck), func(i, j int) { d.deck[i], d.deck[j] = d.deck[j], d.deck[i] })
	}
	c := d.deck[0]
	d.deck = d.deck[1:]
	f := c.draw(d)
	f.Class = c.name
	return f
}

func (d *drawer) between(low, high time.Duration) time.Duration {
	high = min(high, d.longest)
	if high <= low {
		return low
	}
	return low + time.Duration(d.random.Int64N(int64(high-low)))
}

func one(d *drawer, names []string) string { return names[d.random.IntN(len(names))] }

// classes are all that the plan allows.
func (d *drawer) classes() []class {
	p := d.plan
	process := func(name string, names []string, a Action, low, high time.Duration) class {
		return class{name, func(d *drawer) Fault { return Fault{Action: a, Target: one(d, names), For: d.between(low, high)} }}
	}
	cut := func(name string, targets, peers []string) class {
		return class{name, func(d *drawer) Fault { return d.cut(targets, peers) }}
	}
	const ms = time.Millisecond
	all := []class{
		process("rooms killed", p.Rooms, Kill, 0, 6*time.Second),
		process("rooms frozen", p.Rooms, Freeze, time.Second, 20*time.Second),
		process("rooms drained", p.Rooms, Drain, 0, 3*time.Second),
		process("gateway killed", p.Gateways, Kill, 0, 6*time.Second),
		process("gateway frozen", p.Gateways, Freeze, time.Second, 20*time.Second),
		process("gateway drained", p.Gateways, Drain, 0, 3*time.Second),
		process("postgres killed", []string{postgres}, Kill, 200*ms, 6*time.Second),
		process("postgres frozen", []string{postgres}, Freeze, time.Second, 8*time.Second),
		process("rooms limping", p.Rooms, Limp, 5*time.Second, 15*time.Second),
		process("gateway limping", p.Gateways, Limp, 5*time.Second, 15*time.Second),
		process("postgres limping", []string{postgres}, Limp, 5*time.Second, 15*time.Second),
		process("control plane killed", []string{controlPlane}, Kill, time.Second, time.Minute),
		process("control plane frozen", []string{controlPlane}, Freeze, time.Second, time.Minute),
	}
	if p.Cuts {
		all = append(all,
			cut("rooms cut from rooms", p.Rooms, p.Rooms),
			cut("rooms cut from gateway", p.Rooms, p.Gateways),
			cut("rooms cut from postgres", p.Rooms, []string{postgres}),
			cut("rooms cut from control plane", p.Rooms, []string{controlPlane}),
			class{"nodes split off", (*drawer).split},
			class{"packets lost", func(d *drawer) Fault {
				targets := slices.Concat(p.Rooms, p.Gateways, []string{postgres, controlPlane})
				return Fault{Action: Lose, Target: one(d, targets), Share: 0.05 + 0.2*d.random.Float64(), For: d.between(5*time.Second, 20*time.Second)}
			}},
			cut("gateway cut from postgres", p.Gateways, []string{postgres}),
			cut("gateway cut from control plane", p.Gateways, []string{controlPlane}),
			class{"gateway cut from clients", func(d *drawer) Fault {
				f := d.cut(p.Gateways, []string{clients})
				if f.Target == clients {
					f.Refuse = false // the clients are this machine, whose firewall is not ours
				}
				if f.Both {
					f.Refuse = false
				}
				return f
			}},
		)
	}
	if len(p.Only) == 0 {
		return all
	}
	var some []class
	for _, c := range all {
		for _, name := range p.Only {
			if c.name == name {
				some = append(some, c)
			}
		}
	}
	return some
}

// cut draws the two ends, the direction and the manner.
func (d *drawer) cut(targets, peers []string) Fault {
	f := Fault{Action: Cut, Target: one(d, targets), Refuse: d.random.IntN(3) == 0, For: d.between(2*time.Second, 20*time.Second)}
	for f.Peer == "" || f.Peer == f.Target {
		f.Peer = one(d, peers)
	}
	switch d.random.IntN(3) {
	case 0:
		f.Both = true
	case 1:
		f.Target, f.Peer = f.Peer, f.Target
	}
	return f
}

// split draws up to half of the nodes, and never all that do the same.
func (d *drawer) split() Fault {
	rooms, gateways := d.shuffled(d.plan.Rooms), d.shuffled(d.plan.Gateways)
	nodes := d.shuffled(slices.Concat(rooms[1:], gateways[1:]))
	return Fault{Action: Split, Target: nodes[0], With: nodes[1 : 1+d.random.IntN(2)], For: d.between(3*time.Second, 20*time.Second)}
}

func (d *drawer) shuffled(names []string) []string {
	names = slices.Clone(names)
	d.random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names
}
