package ws

import (
	"encoding/binary"
	"io"
)

const (
	recordHeader = 5  // type, version (2), length (2)
	handshakeTyp = 22 // of a record
	// helloPiece is what a piece has at most. With its header it fits the 512 bytes that crypto/tls has free for any read.
	helloPiece = 512 - recordHeader
	// helloMost is the longest record that carries plain text.
	helloMost = 16 << 10
)

// hello hands the first record of a TLS connection on in pieces, as records of their own. crypto/tls reads a record into a buffer that
// has to hold it and 512 bytes more, and that it keeps, as large, for as long as the connection lives; and with the keys of the
// post-quantum exchange in it, the first record of a client is its largest for a connection that says little. In pieces it takes a third.
//
// Records of a handshake may be divided anywhere (RFC 8446, section 5.1), and what both ends prove to each other to have read is the
// message, not how it was divided. Nothing but the first record is touched: what follows may be encrypted.
type hello struct {
	head  [recordHeader]byte
	begun bool
	piece int // bytes of each
	left  int // bytes of the record that were not handed on
}

// read fills b with the next piece, or with what came if that is no such record. done: whoever reads next reads r itself. An error, of
// a deadline too, is for good.
func (h *hello) read(r io.Reader, b []byte) (n int, done bool, err error) {
	if !h.begun {
		if n, err := io.ReadFull(r, h.head[:min(recordHeader, len(b))]); err != nil || len(b) < recordHeader {
			return copy(b, h.head[:n]), true, err
		}
		h.begun = true
		h.left = int(binary.BigEndian.Uint16(h.head[3:]))
		if h.head[0] != handshakeTyp || h.left <= helloPiece || h.left > helloMost {
			return copy(b, h.head[:]), true, nil
		}
		h.piece = pieceOf(h.left)
	}
	size := min(h.piece, h.left, len(b)-recordHeader)
	if size <= 0 {
		return 0, false, io.ErrShortBuffer
	}
	copy(b, h.head[:3])
	binary.BigEndian.PutUint16(b[3:], uint16(size))
	n, err = io.ReadFull(r, b[recordHeader:recordHeader+size])
	if err != nil {
		return 0, true, err
	}
	h.left -= n
	return recordHeader + n, h.left == 0, nil
}

// pieceOf is the size of the pieces for a record. crypto/tls puts them together in a buffer that doubles, and that it keeps as well: a
// number of pieces that is a power of two leaves the least of it empty.
func pieceOf(record int) int {
	pieces := 1
	for record > pieces*helloPiece {
		pieces *= 2
	}
	return (record + pieces - 1) / pieces
}
