package storm

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// fullVariable makes the herd a crowd in one room, spread over two gateways.
const fullVariable = "PARLEY_STORM_FULL"

// fullRoom is the room of the crowd.
const fullRoom = "full"

// absence is how long at least those of the first half stay away when their gateway dies: long enough to see that they are gone.
const absence = 8 * time.Second

// between is how long the churn waits after all have left, and have come. Who does both between two reports, which are half a second
// apart, is not told of.
const between = time.Second

// crowded has the whole herd in one room, the first half at the first gateway and the others at the second.
func crowded(addresses string) func(int) place {
	first, second, _ := strings.Cut(addresses, ",")
	return func(i int) place {
		if i < *clients/2 {
			return place{addresses: first + "," + second, room: fullRoom, backoff: absence}
		}
		return place{addresses: second + "," + first, room: fullRoom}
	}
}

// churn has so many, from all over the herd, leave the room and then join it again, all as fast as it goes.
func (h herd) churn(ctx context.Context, n, rounds int) error {
	var some herd
	for i := range n {
		some = append(some, h[i*len(h)/n])
	}
	for range rounds {
		if err := some.each(func(m *member) error { return m.leave(ctx) }); err != nil {
			return fmt.Errorf("leave: %w", err)
		}
		sleep(ctx, between)
		if err := some.each(func(m *member) error { return m.join(ctx, fullRoom) }); err != nil {
			return fmt.Errorf("join again: %w", err)
		}
		sleep(ctx, between)
	}
	return nil
}

// each has all do something, a few at a time.
func (h herd) each(do func(*member) error) error {
	errs := make(chan error, len(h))
	places := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for _, m := range h {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			errs <- do(m)
		})
	}
	all.Wait()
	for range h {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

func (m *member) leave(ctx context.Context) error {
	select {
	case <-m.ended:
		return fmt.Errorf("%s ended: %w", m.id, m.problem)
	default:
	}
	if err := m.room.Leave(ctx); err != nil {
		return err
	}
	<-m.ended
	m.problem = nil // that it has left
	return nil
}
