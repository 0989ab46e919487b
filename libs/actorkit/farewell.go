package actorkit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/memberlist"
)

const (
	// farewellEvery is how long a start may take before the others are told again, and then twice as long each time.
	farewellEvery = 3 * time.Second
	// farewellSettle is how long a node waits between its farewell and its joining. The engine's client dials again every 100 ms.
	farewellSettle = 300 * time.Millisecond
)

// farewell tells the nodes at some discovery addresses, as a node that stops in order tells them, that whoever had this node's
// name in the cluster has left. This node's gossip hears of that and says that it is there, and so it joins anew.
//
// The cluster takes some seconds to notice by itself that a node was killed, and does not notice when its next life answers sooner.
// Whenever a node comes or goes, the eldest one asks all that own a part of the registry how much they hold, one part after the
// other, before it hands out who owns what from then on. A node that has joined answers that only when it was handed something. So
// when two nodes are killed and start together, the eldest, hearing of the first, asks the second one for what its earlier life
// owned; it waits twelve seconds for each part, while both wait for it and give up.
//
// A node that has not joined yet answers with an error, at once, if its quorum is more than itself. So one first says farewell, then
// lets the question fail that is perhaps on its way, and then joins. Should the eldest wait for it all the same, a farewell makes it
// that one question.
func (p prober) farewell(ctx context.Context, self gossipNode, others []string, now time.Time) error {
	self.State, self.Incarnation = memberlist.StateLeft, incarnation(now)
	errs := make([]error, len(others))
	var told sync.WaitGroup
	for i, addr := range others {
		told.Go(func() { errs[i] = p.push(ctx, addr, self) })
	}
	told.Wait()
	return errors.Join(errs...)
}

// gossipNode is how the gossip describes a node to others; the names of the fields are what it goes by.
type gossipNode struct {
	Name        string
	Addr        []byte
	Port        uint16
	Meta        []byte
	Incarnation uint32
	State       memberlist.NodeStateType
	Vsn         []uint8
}

// gossipName describes the node that gossips at one port, and has its registry, after whose address the engine names it, at another.
func gossipName(host string, discovery, registry int) (gossipNode, error) {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return gossipNode{}, fmt.Errorf("address of the node: %w", err)
	}
	return gossipNode{
		Name: netip.AddrPortFrom(addr, uint16(registry)).String(),
		Addr: addr.AsSlice(), Port: uint16(discovery),
		Vsn: []uint8{
			memberlist.ProtocolVersionMin, memberlist.ProtocolVersionMax, memberlist.ProtocolVersion2Compatible,
			0, 0, 0, // Nothing of the engine's own.
		},
	}, nil
}

// incarnation is above all that the gossip has given to a node: it counts from one in each life, and one up whenever it contradicts.
// In tenths of a second it lasts until 2039. A clock that has not been set must not make it higher than those of right ones.
func incarnation(now time.Time) uint32 {
	tenths := now.Sub(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) / (100 * time.Millisecond)
	return uint32(min(max(tenths, 0), math.MaxUint32-1<<20)) // what contradicts is above it
}

// gossipPushPull begins an exchange of what two nodes know of all.
const gossipPushPull = 6

// push tells a node of the cluster about another one, and returns when it has taken it in.
func (p prober) push(ctx context.Context, addr string, about gossipNode) error {
	ctx, cancel := context.WithTimeout(ctx, aliveTimeout)
	defer cancel()
	conn, err := p.open(ctx, addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // nothing is lost
	body := bytes.NewBuffer([]byte{gossipPushPull})
	enc := codec.NewEncoder(body, &codec.MsgpackHandle{})
	header := struct {
		Nodes, UserStateLen int
		Join                bool
	}{Nodes: 1}
	if err := enc.Encode(&header); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	if err := enc.Encode(&about); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	if _, err := conn.Write(body.Bytes()); err != nil {
		return fmt.Errorf("tell %s: %w", addr, err)
	}
	// It says what it knows, takes in what it was told, and closes the connection.
	if _, err := io.Copy(io.Discard, conn); err != nil {
		return fmt.Errorf("tell %s: %w", addr, err)
	}
	return nil
}
