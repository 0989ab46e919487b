package storm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/parley-rt/parley/sdk/go"
)

// herdVariable makes this test binary the herd: a process of its own, so that those who stayed are not measured by a process
// that is busy with ten thousand others. It gets the gateways' addresses.
const herdVariable = "PARLEY_STORM_HERD"

// What the herd is told, a line of JSON each.
type order struct {
	// Storm is when the gateway was killed, in Unix nanoseconds.
	Storm int64 `json:",omitempty"`
	// CatchUp is the last seq of each room.
	CatchUp map[string]uint64 `json:",omitempty"`
	// Churn is how many leave and join again, for so many Rounds; Half says that the storm is one of the first half only.
	Churn, Rounds int  `json:",omitempty"`
	Half          bool `json:",omitempty"`
}

// What the herd says, a line of JSON each.
type report struct {
	Gathered int             `json:",omitempty"`
	Back     []time.Duration `json:",omitempty"`
	Messages int64           `json:",omitempty"`
	CPU      time.Duration   `json:",omitempty"`
	Error    string          `json:",omitempty"`
}

func herdMain() error {
	if err := yield(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out := json.NewEncoder(os.Stdout)
	place := spread(os.Getenv(herdVariable))
	if os.Getenv(fullVariable) != "" {
		place = crowded(os.Getenv(herdVariable))
	}
	h, err := gather(ctx, place)
	if err != nil {
		return out.Encode(report{Error: err.Error()})
	}
	if err := out.Encode(report{Gathered: len(h)}); err != nil {
		return err
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var o order
		if err := json.Unmarshal(in.Bytes(), &o); err != nil {
			return err
		}
		var r report
		switch {
		case o.Churn != 0:
			err = h.churn(ctx, o.Churn, o.Rounds)
		case o.Half:
			r, err = h[:len(h)/2].awaitReturn(ctx, time.Unix(0, o.Storm))
		case o.Storm != 0:
			r, err = h.awaitReturn(ctx, time.Unix(0, o.Storm))
		default:
			r, err = h.catchUp(ctx, o.CatchUp)
		}
		if err != nil {
			r = report{Error: err.Error()}
		}
		r.CPU = ownCPU()
		if err := out.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// yield gives way to everybody. In earnest the clients are on other machines: here they take what the servers leave of this one.
// Linux shares processors between sessions first (sched_autogroup), where priorities count only within each. Postgres has
// sessions of its own, and the kernel's threads have none, so for figures the herd needs one, too, that is of little weight. A
// test that others run beside could wait for that for long.
func yield() error {
	const lowest = 19
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, lowest); err != nil {
		return fmt.Errorf("set priority: %w", err)
	}
	if flag.Lookup("test.bench").Value.String() == "" {
		return nil
	}
	if _, err := syscall.Setsid(); err != nil {
		return fmt.Errorf("begin a session: %w", err)
	}
	err := os.WriteFile("/proc/self/autogroup", []byte(strconv.Itoa(lowest)), 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) { // a kernel without such groups
		return fmt.Errorf("set the session's priority: %w", err)
	}
	return nil
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail with these arguments
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// member is one of the herd.
type member struct {
	client *parley.Client
	room   *parley.Room
	id     string
	got    atomic.Int64
	seen   atomic.Uint64 // seq
	back   chan time.Time
	// stranger is set when it came back as somebody else.
	stranger atomic.Bool
	// ended is closed when it reads no more, because of problem.
	ended   chan struct{}
	problem error
}

type herd []*member

// place is where a member goes: to the first of the addresses and into the room. Without a connection it waits for backoff first.
type place struct {
	addresses, room string
	backoff         time.Duration // 0: the default
}

// spread has the herd at one gateway and in as many rooms as there are publishers.
func spread(addresses string) func(int) place {
	return func(i int) place { return place{addresses: addresses, room: roomName(i % *stayed)} }
}

// atOnce is how many of the herd do something at the same time.
const atOnce = 64

// gather connects the herd, a few at a time.
func gather(ctx context.Context, where func(int) place) (herd, error) {
	h := make(herd, *clients)
	errs := make(chan error, len(h))
	places := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i := range h {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			var err error
			h[i], err = newMember(ctx, where(i))
			errs <- err
		})
	}
	all.Wait()
	for range h {
		if err := <-errs; err != nil {
			return nil, err
		}
	}
	return h, nil
}

func newMember(ctx context.Context, at place) (*member, error) {
	m := &member{back: make(chan time.Time, 16)}
	client, err := parley.Dial(ctx, at.addresses, parley.Config{InOrder: true, BackoffMin: at.backoff, OnSession: func(s parley.Session) {
		if m.id == "" {
			m.id = s.MemberID
			return
		}
		if !s.Resumed || s.MemberID != m.id {
			m.stranger.Store(true)
		}
		select {
		case m.back <- time.Now():
		default: // it comes and goes: the first time counts
		}
	}})
	if err != nil {
		return nil, err
	}
	m.client = client
	return m, m.join(ctx, at.room)
}

// join enters the room and reads it, until it is left.
func (m *member) join(ctx context.Context, room string) (err error) {
	if m.room, err = m.client.Join(ctx, room, parley.JoinOptions{}); err != nil {
		return err
	}
	m.seen.Store(m.room.Cursor().Seq)
	m.ended = make(chan struct{})
	go func() {
		defer close(m.ended)
		cursor := m.seen.Load()
		for message, err := range m.room.Messages(ctx) {
			switch {
			case err != nil:
				m.problem = err
				return
			case m.stranger.Load():
				m.problem = fmt.Errorf("%s came back as somebody else", m.id)
				return
			case message.PrevSeq != cursor:
				m.problem = fmt.Errorf("%w: %d after %d", errChain, message.PrevSeq, cursor)
				return
			}
			cursor = message.Seq
			m.got.Add(1)
			m.seen.Store(cursor)
		}
	}()
	return nil
}

// awaitReturn waits until all have a session again that was opened after the storm began.
func (h herd) awaitReturn(ctx context.Context, begun time.Time) (r report, _ error) {
	for _, m := range h {
		for returned := false; !returned; {
			select {
			case at := <-m.back:
				if returned = at.After(begun); returned {
					r.Back = append(r.Back, at.Sub(begun))
				}
			case <-m.ended:
				return r, fmt.Errorf("%s ended: %w", m.id, m.problem)
			case <-ctx.Done():
				return r, fmt.Errorf("%s did not come back: %w", m.id, ctx.Err())
			}
		}
	}
	return r, nil
}

// catchUp waits until all have read their rooms up to there, and says how many messages that were.
func (h herd) catchUp(ctx context.Context, last map[string]uint64) (r report, _ error) {
	for _, m := range h {
		for m.seen.Load() < last[m.room.ID()] {
			select {
			case <-m.ended:
				return r, fmt.Errorf("%s ended at %d of %d: %w", m.id, m.seen.Load(), last[m.room.ID()], m.problem)
			case <-ctx.Done():
				return r, fmt.Errorf("%s is at %d of %d: %w", m.id, m.seen.Load(), last[m.room.ID()], ctx.Err())
			case <-time.After(10 * time.Millisecond):
			}
		}
		r.Messages += m.got.Load()
	}
	return r, nil
}
