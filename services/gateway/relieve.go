package gateway

import (
	"context"
	"time"
)

// relieveEvery is how often connections are looked for that make others wait for memory.
const relieveEvery = 250 * time.Millisecond

// relieve keeps what waits for slow connections within its bound until ctx ends.
func (s *Service) relieve(ctx context.Context) {
	t := time.NewTicker(relieveEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			s.acceptor.Relieve(false)
		}
	}
}
