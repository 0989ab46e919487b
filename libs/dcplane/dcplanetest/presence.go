package dcplanetest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/dcplane"
)

func testRegister(t *testing.T, b *bench) {
	writer, reader := b.openCalm(), b.openCalm()
	require.True(t, reader.Ready())
	require.Empty(t, reader.Nodes("dc-a", "rooms"))

	first, second, other := node("rooms-2"), node("rooms-1"), node("rooms-1")
	other.DC = "dc-b"
	b.register(writer, first)
	b.register(writer, second)
	b.awaitNode(reader, second)
	b.register(reader, other)
	b.awaitNode(writer, other)
	b.awaitNode(reader, other)
	b.awaitNode(reader, first)

	require.Equal(t, []dcplane.Node{second, first}, reader.Nodes("dc-a", "rooms"), "sorted by name")
	require.Equal(t, []dcplane.Node{other}, reader.Nodes("dc-b", "rooms"))
	require.Empty(t, reader.Nodes("dc-a", "gateway"))
	reader.Nodes("dc-a", "rooms")[0].Name = "scribbled"
	b.awaitNode(reader, second)

	late := b.openCalm()
	require.Len(t, late.Nodes("dc-a", "rooms"), 2, "a directory is complete when it opens")

	_, err := writer.Register(b.ctx(), first)
	require.ErrorIs(t, err, dcplane.ErrAlreadyRegistered)
	require.WithinDuration(t, time.Now(), reader.LastRefresh(), patience)
}

func testInvalid(t *testing.T, b *bench) {
	d := b.openCalm()
	n := node("rooms-1")
	n.Name, n.Host, n.RemotingPort, n.State, n.Load = "", strings.Repeat("h", dcplane.MaxHostBytes+1), 70000, "asleep", -1
	_, err := d.Register(b.ctx(), n)
	require.ErrorIs(t, err, dcplane.ErrInvalidNode)
	for _, problem := range []string{"name is empty", "host has 256 bytes", "port 70000", `state "asleep"`, "load -1"} {
		require.ErrorContains(t, err, problem)
	}
	n = node("bad\xffname")
	_, err = d.Register(b.ctx(), n)
	require.ErrorContains(t, err, "name is not valid UTF-8")

	n = node("rooms-1")
	r := b.register(d, n)
	require.ErrorIs(t, r.Update(b.ctx(), "asleep", 0), dcplane.ErrInvalidNode)
	b.awaitNode(d, n)
}

func testUpdate(t *testing.T, b *bench) {
	writer, reader := b.openCalm(), b.openCalm()
	n := node("rooms-1")
	n.State, n.Load = dcplane.StateStarting, 0
	r := b.register(writer, n)
	b.awaitNode(reader, n)
	for _, step := range []struct {
		state dcplane.NodeState
		load  float64
	}{{dcplane.StateReady, 0.5}, {dcplane.StateReady, 1.5}, {dcplane.StateDraining, 0}} {
		n.State, n.Load = step.state, step.load
		require.NoError(t, r.Update(b.ctx(), n.State, n.Load))
		b.awaitNode(reader, n)
	}
	require.Len(t, reader.Nodes("dc-a", "rooms"), 1, "draining nodes are listed")
}

func testDeregister(t *testing.T, b *bench) {
	writer, reader := b.openCalm(), b.openCalm()
	n, stays := node("rooms-1"), node("rooms-2")
	b.register(writer, stays)
	b.awaitNode(reader, stays)
	seen, gone := time.Hour, time.Hour
	for range tries {
		began := time.Now()
		r := b.register(writer, n)
		b.awaitNode(reader, n)
		seen = min(seen, time.Since(began))

		began = time.Now()
		require.NoError(t, r.Deregister(b.ctx()))
		b.awaitGone(reader, n)
		gone = min(gone, time.Since(began))
		b.awaitNode(reader, stays)

		require.NoError(t, r.Deregister(b.ctx()), "deregistering twice is harmless")
		require.ErrorIs(t, r.Update(b.ctx(), dcplane.StateReady, 0), dcplane.ErrDeregistered)
		err, open := <-r.Lost()
		require.False(t, open, "no loss, but %v", err)
	}
	require.Less(t, seen, time.Second, "a registration is seen within a second")
	require.Less(t, gone, time.Second, "a deregistration is seen at once")
}

func testClose(t *testing.T, b *bench) {
	writer, reader := b.openCalm(), b.openCalm()
	n, kept := node("rooms-1"), node("gateway-1")
	r := b.register(writer, n)
	b.register(reader, kept)
	b.awaitNode(reader, n)
	b.awaitNode(writer, kept)

	require.NoError(t, writer.Close(b.ctx()))
	b.awaitGone(reader, n)
	_, open := <-r.Lost()
	require.False(t, open)
	require.ErrorIs(t, r.Update(b.ctx(), dcplane.StateReady, 0), dcplane.ErrClosed)
	_, err := writer.Register(b.ctx(), node("rooms-3"))
	require.ErrorIs(t, err, dcplane.ErrClosed)
	require.NoError(t, writer.Close(b.ctx()), "closing twice is harmless")
	_, ok := writer.Lookup(kept.DC, kept.Service, kept.Name)
	require.True(t, ok, "the cache stays readable")
}

func testReplace(t *testing.T, b *bench) {
	first, second, reader := b.openCalm(), b.openCalm(), b.openCalm()
	n := node("rooms-1")
	b.register(first, n)
	b.awaitNode(reader, n)
	b.plane.Crash(t, first)

	n.Incarnation, n.RemotingPort, n.State = n.Name+"#2", 5001, dcplane.StateStarting
	began := time.Now()
	b.register(second, n)
	b.awaitNode(reader, n)
	require.Less(t, time.Since(began), calm.Lease/2, "nobody waits for the lease of the old incarnation")
	require.Len(t, reader.Nodes("dc-a", "rooms"), 1)
}

func testNames(t *testing.T, b *bench) {
	writer, reader := b.openCalm(), b.openCalm()
	parts := []string{
		"a", "a.b", ".", "..", "a/b", "/", "*", ">", "$KV", "=2E", "=", "%2F", " ", "a b", "\t\r\n", "\x00", "naïve", "名前", "A",
		strings.Repeat("=", dcplane.MaxNameBytes), "_", "-", "nodes/dc/x/y", "{}", `"`, `\`, "'; DROP",
	}
	var all []dcplane.Node
	for i, part := range parts {
		n := node(part)
		n.DC, n.Service, n.Incarnation = parts[(i+1)%len(parts)], parts[(i+2)%len(parts)], part
		all = append(all, n)
	}
	glued := []dcplane.Node{node("c"), node("b/c"), node("c"), node("b.c")}
	glued[0].DC, glued[0].Service = "a/b", "x"
	glued[1].DC, glued[1].Service = "a", "x"
	glued[2].DC, glued[2].Service = "a", "x/b"
	glued[3].DC, glued[3].Service = "a", "x"
	all = append(all, glued...)
	registrations := make([]dcplane.Registration, len(all))
	for i, n := range all {
		registrations[i] = b.register(writer, n)
	}
	for _, n := range all {
		b.awaitNode(reader, n)
	}
	require.Len(t, reader.Nodes("a", "x"), 2)
	for i, n := range all {
		require.NoError(t, registrations[i].Deregister(b.ctx()))
		b.awaitGone(reader, n)
	}
}
