package pgarray_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/parley-rt/parley/libs/persistence/postgres/internal/pgarray"
)

// encode is what pgx makes of the same values.
func encode(t require.TestingT, oid uint32, values any) []byte {
	out, err := pgtype.NewMap().Encode(oid, pgtype.BinaryFormatCode, values, nil)
	require.NoError(t, err)
	return out
}

func TestEncodedIsWhatPgxEncodes(t *testing.T) {
	t.Parallel()
	int8s, int4s, int2s := pgarray.New(pgarray.OIDInt8), pgarray.New(pgarray.OIDInt4), pgarray.New(pgarray.OIDInt2)
	texts, blobs, uuids := pgarray.New(pgarray.OIDText), pgarray.New(pgarray.OIDBytea), pgarray.New(pgarray.OIDUUID)
	rapid.Check(t, func(t *rapid.T) {
		for _, a := range []*pgarray.Array{int8s, int4s, int2s, texts, blobs, uuids} {
			a.Reset()
		}
		n := rapid.IntRange(1, 20).Draw(t, "n")
		var i8 []int64
		var i4 []int32
		var i2 []int16
		var text []string
		var blob [][]byte
		var uuid [][16]byte
		for range n {
			i8 = append(i8, rapid.Int64().Draw(t, "int8"))
			i4 = append(i4, rapid.Int32().Draw(t, "int4"))
			i2 = append(i2, rapid.Int16().Draw(t, "int2"))
			text = append(text, rapid.String().Draw(t, "text"))
			b := rapid.SliceOf(rapid.Byte()).Draw(t, "bytea")
			if rapid.Bool().Draw(t, "null") {
				b = nil
			}
			blob = append(blob, b)
			var id [16]byte
			copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid"))
			uuid = append(uuid, id)

			int8s.Int64(i8[len(i8)-1])
			int4s.Int32(i4[len(i4)-1])
			int2s.Int16(i2[len(i2)-1])
			texts.Text(text[len(text)-1])
			if b == nil {
				blobs.Null()
			} else {
				blobs.Bytes(b)
			}
			uuids.Bytes(id[:])
		}
		require.Equal(t, encode(t, pgtype.Int8ArrayOID, i8), int8s.Encoded())
		require.Equal(t, encode(t, pgtype.Int4ArrayOID, i4), int4s.Encoded())
		require.Equal(t, encode(t, pgtype.Int2ArrayOID, i2), int2s.Encoded())
		require.Equal(t, encode(t, pgtype.TextArrayOID, text), texts.Encoded())
		require.Equal(t, encode(t, pgtype.ByteaArrayOID, blob), blobs.Encoded())
		require.Equal(t, encode(t, pgtype.UUIDArrayOID, uuid), uuids.Encoded())
	})
}

func TestEmpty(t *testing.T) {
	t.Parallel()
	require.Equal(t, encode(t, pgtype.Int8ArrayOID, []int64{}), pgarray.New(pgarray.OIDInt8).Encoded())
}
