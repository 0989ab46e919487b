package hostile

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

// ping is a message whose answer has that id, padded with a field that the server ignores.
func ping(id int, pad string) string { return fmt.Sprintf(`{"id":%d,"x":"%s","ping":{}}`, id, pad) }

// padded is ping with n bytes.
func padded(id, n int) string {
	return ping(id, strings.Repeat("*", n-len(ping(id, ""))))
}

// fragments cuts a message into frames of at most n bytes.
func fragments(first byte, payload string, n int) (frames [][]byte) {
	for op := first; ; op = cont {
		if len(payload) <= n {
			return append(frames, frame(fin|op, payload))
		}
		frames = append(frames, frame(op, payload[:n]))
		payload = payload[n:]
	}
}

// rule is a row of what RFC 6455 asks of a server. The numbers in names are those of the cases of the Autobahn test suite.
type rule struct {
	name string
	send []byte
	// pongs are the payloads of the pong frames that must come, in order, before answers.
	pongs []string
	// answers are the ids of the pong messages that must come, if the connection works on. To one that ends they may: answers
	// are made beside what reads the frames.
	answers []uint32
	// closed is the close code that must come then; 0: the connection works on.
	closed int
}

// framing is about frames, control frames and fragments.
func framing() []rule {
	p125, bin := strings.Repeat("p", 125), "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
	rules := []rule{
		{name: "1.1.1 empty text is a bad message and no bad frame", send: join(frame(finText, ""), frame(finText, ping(1, ""))), answers: []uint32{1}},
		{name: "2.1 ping without payload", send: frame(finPing, ""), pongs: []string{""}},
		{name: "2.2 ping", send: frame(finPing, "Hello, world!"), pongs: []string{"Hello, world!"}},
		{name: "2.3 ping of bytes", send: frame(finPing, bin), pongs: []string{bin}},
		{name: "2.4 ping of 125 bytes", send: frame(finPing, p125), pongs: []string{p125}},
		{name: "2.5 ping of 126 bytes", send: frame(finPing, p125+"p"), closed: 1002},
		{name: "2.7 pong nobody asked for", send: frame(finPong, ""), answers: nil},
		{name: "2.8 pong with payload", send: frame(finPong, "x"), answers: nil},
		{name: "2.9 pong, then ping", send: join(frame(finPong, "x"), frame(finPing, "y")), pongs: []string{"y"}},
		{name: "2.10 ten pings", send: bytes.Repeat(frame(finPing, "n"), 10), pongs: strings.Split("n n n n n n n n n n", " ")},
		{name: "3.1 reserved bit 3", send: frame(finText|0x10, "*"), closed: 1002},
		{name: "3.2 reserved bit 2 behind a message", send: join(frame(finText, ping(1, "")), frame(finText|0x20, "*")), answers: []uint32{1}, closed: 1002},
		{name: "3.3 reserved bits 2 and 3", send: frame(finText|0x30, "*"), closed: 1002},
		{name: "3.4 reserved bit 1", send: frame(finText|0x40, "*"), closed: 1002},
		{name: "3.5 reserved bits 1 and 3", send: frame(finBinary|0x50, "*"), closed: 1002},
		{name: "3.6 reserved bits on a ping", send: frame(finPing|0x60, "*"), closed: 1002},
		{name: "3.7 reserved bits on a close", send: frame(finClose|0x70, ""), closed: 1002},
		{name: "5.1 ping in two fragments", send: join(frame(0x09, "a"), frame(fin|cont, "b")), closed: 1002},
		{name: "5.2 pong in two fragments", send: join(frame(0x0a, "a"), frame(fin|cont, "b")), closed: 1002},
		{name: "close in two fragments", send: join(frame(0x08, "\x03\xe8"), frame(fin|cont, "b")), closed: 1002},
		{name: "5.3 text in two fragments", send: join(fragments(text, ping(1, ""), 9)...), answers: []uint32{1}},
		{name: "5.6 ping between fragments", send: join(frame(text, ping(1, "")[:8]), frame(finPing, "between"), frame(fin|cont, ping(1, "")[8:])), pongs: []string{"between"}, answers: []uint32{1}},
		{name: "5.9 continuation of nothing, final", send: join(frame(fin|cont, "x"), frame(finText, ping(1, ""))), closed: 1002},
		{name: "5.12 continuation of nothing, not final", send: join(frame(cont, "x"), frame(finText, ping(1, ""))), closed: 1002},
		{name: "5.15 continuation behind a whole message", send: join(join(fragments(text, ping(1, ""), 9)...), frame(cont, "x")), answers: []uint32{1}, closed: 1002},
		{name: "5.18 text within a message", send: join(frame(text, "{"), frame(text, "}")), closed: 1002},
		{name: "5.18 whole text within a message", send: join(frame(text, "{"), frame(finText, ping(1, ""))), closed: 1002},
		{name: "5.19 pings between fragments", send: join(frame(text, ping(1, "")[:4]), frame(cont, ping(1, "")[4:8]), frame(finPing, "1"), frame(cont, ping(1, "")[8:9]), frame(finPing, "2"), frame(fin|cont, ping(1, "")[9:])), pongs: []string{"1", "2"}, answers: []uint32{1}},
		{name: "fragments that are empty", send: join(frame(text, ""), frame(cont, ""), frame(cont, ping(1, "")), frame(fin|cont, "")), answers: []uint32{1}},
		{name: "close between fragments", send: join(frame(text, "{"), closeFrame(1000, "")), closed: 1000},
		{name: "frame that is not masked", send: append([]byte{finText, byte(len(ping(1, "")))}, ping(1, "")...), closed: 1002},
		{name: "ping that is not masked", send: []byte{finPing, 0}, closed: 1002},
		{name: "mask of zeros", send: append([]byte{finText, 0x80 | byte(len(ping(1, ""))), 0, 0, 0, 0}, ping(1, "")...), answers: []uint32{1}},
		{name: "length with the top bit", send: []byte{finText, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, closed: 1002},
		{name: "length of all ones", send: []byte{finText, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, closed: 1002},
		// RFC 6455 §5.2: "the minimal number of bytes MUST be used to encode the length". Other servers accept it, and so do we
		// as long as it means no more than a short one: nothing depends on it.
		{name: "length in more bytes than it takes", send: masked([]byte{finText, 0xfe, 0, byte(len(ping(1, "")))}, ping(1, "")), answers: []uint32{1}},
		{name: "control frame with a long length", send: masked([]byte{finPing, 0xfe, 0, 126}, p125+"p"), closed: 1002},
		{name: "1009 for 64 KiB and a byte", send: frame(finText, padded(1, 65537)), closed: 1009},
		{name: "1009 for 2^62 bytes that are only announced", send: []byte{finText, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, closed: 1009},
		{name: "1009 for fragments that add up", send: join(frame(text, padded(1, 40000)), frame(fin|cont, padded(1, 40000))), closed: 1009},
		{name: "1009 for a fragment announced too large", send: join(frame(text, "{"), []byte{fin | cont, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}), closed: 1009},
		{name: "endless fragments of a byte", send: join(frame(text, "{"), bytes.Repeat(frame(cont, " "), 2000)), closed: 1008},
		{name: "endless empty fragments", send: join(frame(text, "{"), bytes.Repeat(frame(cont, ""), 2000)), closed: 1008},
		{name: "endless empty fragments with pings between", send: join(frame(text, "{"), bytes.Repeat(join(frame(cont, ""), frame(finPong, "")), 2000)), closed: 1008},
		{name: "binary on a JSON connection", send: frame(finBinary, ping(1, "")), closed: 1003},
		{name: "binary in fragments on a JSON connection", send: frame(binaryOp, ping(1, "")), closed: 1003},
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		name := fmt.Sprintf("4.x reserved opcode %d", op)
		rules = append(rules,
			rule{name: name, send: frame(fin|op, ""), closed: 1002},
			rule{name: name + " behind a message", send: join(frame(finText, ping(1, "")), frame(fin|op, "x"), frame(finPing, "")), answers: []uint32{1}, closed: 1002},
		)
	}
	for _, n := range []int{32, 125, 126, 127, 128, 497, 512, 4096, 4097, 16384, 65535, 65536} {
		rules = append(rules, rule{name: fmt.Sprintf("1.1 text of %d bytes", n), send: frame(finText, padded(1, n)), answers: []uint32{1}})
	}
	for _, n := range []int{256, 1000, 1300, 4096, 32768, 65536} {
		rules = append(rules, rule{name: fmt.Sprintf("9.3 64 KiB in fragments of %d", n), send: join(fragments(text, padded(1, 65536), n)...), answers: []uint32{1}})
	}
	return rules
}

// closing is about the end of a connection.
func closing() []rule {
	rules := []rule{
		{name: "7.1.1 message, then close", send: join(frame(finText, ping(1, "")), closeFrame(1000, "bye")), answers: []uint32{1}, closed: 1000},
		{name: "7.1.2 two closes", send: join(closeFrame(1000, ""), closeFrame(1000, "")), closed: 1000},
		{name: "7.1.3 close, then ping", send: join(closeFrame(1000, ""), frame(finPing, "x")), closed: 1000},
		{name: "7.1.4 close, then text", send: join(closeFrame(1000, ""), frame(finText, ping(1, ""))), closed: 1000},
		{name: "7.3.2 close of one byte", send: frame(finClose, "\x03"), closed: 1002},
		{name: "7.3.4 close with a reason", send: closeFrame(1000, "Hello, wörld!"), closed: 1000},
		{name: "7.3.5 close with a reason of 123 bytes", send: closeFrame(1000, strings.Repeat("r", 123)), closed: 1000},
		{name: "7.3.6 close with a reason of 124 bytes", send: closeFrame(1000, strings.Repeat("r", 124)), closed: 1002},
		{name: "7.5.1 close with a reason that is not UTF-8", send: closeFrame(1000, "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"), closed: 1002},
	}
	for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4505, 4999} {
		rules = append(rules, rule{name: fmt.Sprintf("7.7 close with %d", code), send: closeFrame(code, ""), closed: int(code)})
	}
	for _, code := range []uint16{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		rules = append(rules, rule{name: fmt.Sprintf("7.9 close with %d", code), send: closeFrame(code, ""), closed: 1002})
	}
	return rules
}

// Texts of section 6 of the Autobahn suite.
var (
	goodUTF8 = []string{
		"Hello-µ@ßöäüàá-UTF-8!!", "κόσμε", "\x00", "\u0080", "\u0800", "\U00010000", "\x7f", "\u07ff", "\uffff",
		"\ud7ff", "\ue000", "\ufffd", "\U0010ffff", "\ufffe", "\U0001fffe", "\U0001f980",
	}
	badUTF8 = []string{
		"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", "\x80", "\xbf", "\x80\xbf\x80", "\xc0", "\xc1 ", "\xe0 \xe1 ",
		"\xf0 \xf1 ", "\xf8 ", "\xfc ", "\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", "\xc1\xbf", "\xe0\x9f\xbf",
		"\xf0\x8f\xbf\xbf", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xbf\xbf", "\xed\xa0\x80\xed\xb0\x80",
		"\xf4\x90\x80\x80", "\xf7\xbf\xbf\xbf", "\xfe", "\xff", "\xfe\xfe\xff\xff", "\xe2\x82", "\xf0\x9f\xa6",
	}
)

// encoding is about UTF-8. A JSON string takes no control characters, so the message that has one is bad and the frame is not.
func encoding() (rules []rule) {
	escaped := strings.NewReplacer("\x00", " ")
	for i, s := range goodUTF8 {
		m := ping(1, escaped.Replace(s))
		rules = append(rules,
			rule{name: fmt.Sprintf("6 good %d", i), send: frame(finText, m), answers: []uint32{1}},
			rule{name: fmt.Sprintf("6 good %d in fragments of a byte", i), send: join(fragments(text, m, 1)...), answers: []uint32{1}},
		)
	}
	for i, s := range badUTF8 {
		m := ping(1, s)
		rules = append(rules,
			rule{name: fmt.Sprintf("6 bad %d", i), send: frame(finText, m), closed: 1007},
			rule{name: fmt.Sprintf("6 bad %d in fragments of a byte", i), send: join(fragments(text, m, 1)...), closed: 1007},
		)
	}
	return append(rules,
		rule{name: "6.2.1 character in two fragments", send: join(frame(text, `{"id":1,"x":"gr`+"\xc3"), frame(finPing, "-"), frame(fin|cont, "\xbc"+`","ping":{}}`)), pongs: []string{"-"}, answers: []uint32{1}},
		rule{name: "6.6.1 text that ends within a character", send: frame(finText, "\xce"), closed: 1007},
	)
}

// S9: what RFC 6455 asks of a server, row by row, in one piece and byte by byte.
func TestRFC6455(t *testing.T) {
	addr := victim(t)
	canary := release(t, addr)
	chops := []int{1 << 20, 1, 997}
	for _, section := range []struct {
		name  string
		rules []rule
	}{{"frames", framing()}, {"closing", closing()}, {"UTF-8", encoding()}} {
		t.Run(section.name, func(t *testing.T) {
			for _, r := range section.rules {
				for _, chop := range chops {
					if chop < len(r.send) && chop*4000 < len(r.send) {
						continue // takes long and shows nothing new
					}
					t.Run(fmt.Sprintf("%s by %d", r.name, chop), func(t *testing.T) { r.check(t, addr, chop) })
					if chop >= len(r.send) {
						break
					}
				}
			}
		})
	}
	canary.unharmed()
}

// check sends a rule's bytes in writes of at most chop bytes.
func (r rule) check(t *testing.T, addr string, chop int) {
	t.Helper()
	c := connect(t, addr)
	if chop < len(r.send) {
		require.NoError(t, c.nc.(*net.TCPConn).SetNoDelay(true))
	}
	for rest := r.send; len(rest) > 0; {
		n := min(chop, len(rest))
		c.write(rest[:n])
		rest = rest[n:]
	}
	for _, want := range r.pongs {
		c.expectPong(want)
	}
	if r.closed != 0 {
		c.expectClose(r.closed)
		return
	}
	for _, want := range r.answers {
		e, err := c.receive()
		for err == nil && e.kind == "error" { // to a message that was bad as such
			e, err = c.receive()
		}
		require.NoError(t, err)
		require.Equal(t, "pong", e.kind)
		require.Equal(t, want, e.id)
	}
	c.works()
}

// What is 7.3.1: a close frame without a code is answered with one without a code.
func TestCloseWithoutACode(t *testing.T) {
	c := connect(t, victim(t))
	c.write(frame(finClose, ""))
	c.expectClose(0)
}

// A message that is announced and never finished holds its own connection only, and little there.
func TestUnfinishedMessages(t *testing.T) {
	addr := victim(t)
	canary := release(t, addr)
	var all []*raw
	for range 200 {
		c := connect(t, addr)
		c.write(append([]byte{finText, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4}, "only this"...)) // of 64 KiB
		all = append(all, c)
	}
	for range 200 {
		c := connect(t, addr)
		c.write(frame(text, padded(1, 30000)))
		all = append(all, c)
	}
	connect(t, addr).works()
	for _, c := range all[200:] {
		c.write(frame(finPing, "still here"))
		c.expectPong("still here")
	}
	canary.unharmed()
}

// The end of a text that is no UTF-8 is not waited for when its beginning shows it already.
func TestBadTextFailsFast(t *testing.T) {
	addr := victim(t)
	for name, send := range map[string][]byte{
		"6.4.1 in the first fragment":  frame(text, "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80"),
		"6.4.2 in the second fragment": join(frame(text, "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4"), frame(cont, "\x90")),
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, addr)
			c.write(send)
			c.expectClose(1007)
		})
	}
}

// On a connection of the other subprotocol binary is right and text is wrong, and bytes need not be UTF-8.
func TestBinarySubprotocol(t *testing.T) {
	addr := victim(t)
	canary := release(t, addr)
	message := func(id uint32) string {
		b, err := proto.Marshal(&clientv1.Envelope{Id: id, Kind: &clientv1.Envelope_Ping{Ping: &clientv1.Ping{}}})
		require.NoError(t, err)
		return string(b)
	}
	answers := func(c *raw, want uint32) {
		for {
			first, payload, err := c.next()
			require.NoError(t, err)
			require.Equal(t, byte(finBinary), first)
			var e clientv1.Envelope
			require.NoError(t, proto.Unmarshal(payload, &e))
			if e.GetSession() != nil || e.GetError() != nil {
				continue
			}
			require.NotNil(t, e.GetPong())
			require.Equal(t, want, e.GetId())
			return
		}
	}
	open := func() *raw { return connect(t, addr, "Sec-WebSocket-Protocol: parley.v1.proto") }
	c := open()
	c.write(frame(finBinary, message(5)))
	answers(c, 5)
	c.write(join(fragments(binaryOp, message(6), 1)...))
	answers(c, 6)
	c.write(frame(finBinary, "\xff\xfe\x00\x80"))
	c.write(frame(finBinary, message(7)))
	answers(c, 7)
	c.write(frame(finText, `{"ping":{}}`))
	for {
		first, payload, err := c.next()
		require.NoError(t, err)
		if first == finClose {
			require.Equal(t, 1003, closedError(payload).code())
			break
		}
	}
	c = open()
	c.write(frame(finText|0x40, ""))
	require.NoError(t, c.nc.SetDeadline(time.Now().Add(patience)))
	require.Contains(t, string(c.expectCut()), "\x03\xea", "1002")
	canary.unharmed()
}
