package hub

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/parley-rt/parley/libs/protocol/codec"
	"github.com/parley-rt/parley/services/gateway/internal/ws"
)

// counter is a connection that takes everything and says when. There is one to a room: if all counted, they would wait for the count.
type counter struct {
	taker
	came *sync.WaitGroup
}

func (c *counter) Offer(frames [][]byte, _ int, _ ws.Waiter) int {
	for range frames {
		c.came.Done()
	}
	return len(frames)
}

// BenchmarkRooms delivers messages to 64 rooms of 1,000 connections each, as they come from their nodes: decoded, compiled and handed to
// the connections. With -cpu 1,2 it tells what a second processor adds.
func BenchmarkRooms(b *testing.B) {
	const rooms, members, batch = 64, 1000, 4
	hub, up, _ := startHub(b)
	var came sync.WaitGroup
	room := func(i int) string { return fmt.Sprintf("room-%d", i) }
	for i := range rooms {
		for m := range members {
			hub.Attach(&taker{codec.JSON{}}, room(i), Start{Member: fmt.Sprint(m), Incarnation: 1})
		}
		hub.Attach(&counter{taker{codec.JSON{}}, &came}, room(i), Start{Member: "last", Incarnation: 1})
		up.live(b, room(i))
	}
	content := strings.Repeat("x", 128)
	seq := uint64(0)
	for b.Loop() {
		came.Add(rooms * batch)
		for range batch {
			seq++
			for i := range rooms {
				up.deliver(room(i), uint64(i)+1, seq, content) // they subscribed one after the other
			}
		}
		came.Wait()
	}
	b.ReportMetric(float64(b.N*rooms*batch*members)/b.Elapsed().Seconds(), "deliveries/s")
}
