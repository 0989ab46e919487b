// Package pgarray builds one-dimensional arrays in Postgres's binary format, without an allocation per element. It exists
// for the one statement that every message goes through; everything else is encoded by pgx.
package pgarray

import "encoding/binary"

// Object ids of the element types, as in pg_type.
const (
	OIDBytea = 17
	OIDInt8  = 20
	OIDInt2  = 21
	OIDInt4  = 23
	OIDText  = 25
	OIDUUID  = 2950
)

// headerBytes: dimensions, has-null flag, element type, length, lower bound; 4 bytes each.
const headerBytes = 20

// Array is an array being built. Its memory is used again after Reset. Not safe for concurrent use.
type Array struct {
	buf  []byte
	oid  uint32
	n    uint32
	null bool
}

// New makes an empty array of elements of that type.
func New(oid uint32) *Array {
	a := &Array{oid: oid}
	a.Reset()
	return a
}

// keptBytes is how large a buffer is kept for the next use: a rare huge batch should not stay in memory.
const keptBytes = 1 << 20

// Reset makes it empty again.
func (a *Array) Reset() {
	if cap(a.buf) > keptBytes {
		a.buf = nil
	}
	if cap(a.buf) < headerBytes {
		a.buf = make([]byte, headerBytes, 256)
	}
	a.buf, a.n, a.null = a.buf[:headerBytes], 0, false
}

// Int64 adds a bigint.
func (a *Array) Int64(v int64) {
	a.begin(8)
	a.buf = binary.BigEndian.AppendUint64(a.buf, uint64(v))
}

// Int32 adds an integer.
func (a *Array) Int32(v int32) {
	a.begin(4)
	a.buf = binary.BigEndian.AppendUint32(a.buf, uint32(v))
}

// Int16 adds a smallint.
func (a *Array) Int16(v int16) {
	a.begin(2)
	a.buf = binary.BigEndian.AppendUint16(a.buf, uint16(v))
}

// Bytes adds a bytea, a uuid or any other value that is sent as it is.
func (a *Array) Bytes(v []byte) {
	a.begin(len(v))
	a.buf = append(a.buf, v...)
}

// Text adds a text, which must be UTF-8 without NUL.
func (a *Array) Text(v string) {
	a.begin(len(v))
	a.buf = append(a.buf, v...)
}

// Null adds a NULL.
func (a *Array) Null() {
	a.null = true
	a.n++
	a.buf = append(a.buf, 0xff, 0xff, 0xff, 0xff)
}

func (a *Array) begin(size int) {
	a.n++
	a.buf = binary.BigEndian.AppendUint32(a.buf, uint32(size))
}

// Encoded returns the array as a parameter in binary format. It is valid until the next call of any method.
func (a *Array) Encoded() []byte {
	put := binary.BigEndian.PutUint32
	put(a.buf, 1)
	flags := uint32(0)
	if a.null {
		flags = 1
	}
	put(a.buf[4:], flags)
	put(a.buf[8:], a.oid)
	put(a.buf[12:], a.n)
	put(a.buf[16:], 1)
	return a.buf
}
