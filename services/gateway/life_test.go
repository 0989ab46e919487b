package gateway

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// life is what a gateway does to the world until it is killed, which happens at the action that the test chooses: before it is
// carried out, or after that and before the gateway hears of it. From then on it does nothing and nobody hears of it, as with
// kill -9.
type life struct {
	mu      sync.Mutex
	actions []string
	end     int // the number of the action that it dies at, from 1 on; 0: it lives
	after   bool
	dead    atomic.Bool
	cut     func() // its sockets
	over    chan struct{}
}

// act carries out an action of the gateway; false: it is dead now, and must not hear of it.
func (l *life) act(name string, do func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead.Load() {
		return false
	}
	l.actions = append(l.actions, name)
	if len(l.actions) != l.end {
		do()
		return true
	}
	l.dead.Store(true)
	if l.after {
		do()
	}
	go l.cut()
	return false
}

// kill ends it between two actions.
func (l *life) kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead.Store(true)
	l.cut()
}

func (l *life) did() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.actions...)
}

// counts says whether a frame is an action: those that only time brings about are not.
func counts(f *roomv1.Frame) bool {
	switch f.GetKind().(type) {
	case *roomv1.Frame_Join, *roomv1.Frame_Leave, *roomv1.Frame_Publish, *roomv1.Frame_Subscribe, *roomv1.Frame_Read:
		return true
	default:
		return false
	}
}

func actionOf(f *roomv1.Frame) string {
	return strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", f.GetKind()), "*roomv1.Frame_")) + " " + f.GetRoomId()
}

// mortalStore is a store as a gateway with a life uses it.
type mortalStore struct {
	persistence.Backend
	life *life
}

// do runs an access to the store; a dead gateway's never ends, for as long as it would wait.
func (s *mortalStore) do(ctx context.Context, name string, access func() error) (err error) {
	if !s.life.act(name, func() { err = access() }) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.life.over:
			return persistence.ErrClosed
		}
	}
	return err
}

func (s *mortalStore) CreateSession(ctx context.Context, id persistence.SessionID, h persistence.TokenHash, member string, ttl time.Duration) (out persistence.Session, _ error) {
	return out, s.do(ctx, "create", func() (err error) { out, err = s.Backend.CreateSession(ctx, id, h, member, ttl); return err })
}

func (s *mortalStore) ResumeSession(ctx context.Context, id persistence.SessionID, presented, next persistence.TokenHash, attempt uint64, ttl time.Duration) (out persistence.Session, _ error) {
	return out, s.do(ctx, "resume", func() (err error) {
		out, err = s.Backend.ResumeSession(ctx, id, presented, next, attempt, ttl)
		return err
	})
}

// SaveSessionRooms takes its time: what should wait for it and does not comes before it.
func (s *mortalStore) SaveSessionRooms(ctx context.Context, id persistence.SessionID, generation uint64, rooms []string, ttl time.Duration) error {
	<-time.After(20 * time.Millisecond)
	return s.do(ctx, "save "+strings.Join(rooms, ","), func() error { return s.Backend.SaveSessionRooms(ctx, id, generation, rooms, ttl) })
}

// LostSessions and ExtendSessions are brought about by time: they are no actions.
func (s *mortalStore) LostSessions(ctx context.Context, held []persistence.HeldSession) ([]persistence.HeldSession, error) {
	if s.life.dead.Load() {
		return nil, persistence.ErrUnavailable
	}
	return s.Backend.LostSessions(ctx, held)
}

func (s *mortalStore) ExtendSessions(ctx context.Context, ids []persistence.SessionID, ttl time.Duration) error {
	if s.life.dead.Load() {
		return persistence.ErrUnavailable
	}
	return s.Backend.ExtendSessions(ctx, ids, ttl)
}
